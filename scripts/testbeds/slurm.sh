#!/usr/bin/env bash
# A real Slurm on this one machine, for tests: munge, MariaDB, slurmdbd, slurmctld and four slurmd,
# on loopback, without systemd, cgroups or GPUs. Needs Debian 12 (or like it) and root.
#
#   scripts/testbeds/slurm.sh up      installs what is missing by apt, configures, starts, waits
#   scripts/testbeds/slurm.sh status  says what runs; its exit status is 0 if all does
#   scripts/testbeds/slurm.sh down    stops what `up` started, and removes the directory
#
# Everything lies below --directory DIR (default /var/tmp/hpcjobs-slurm): configuration, logs, keys,
# sockets, the data base. /etc/slurm and a MariaDB of the system are left alone; several testbeds may
# run beside one another. `up` again is harmless, and restarts what has died. What remains afterwards:
# the packages, the user hpcuser, and, where the host's own name had no address, a line in /etc/hosts.
#
# Partitions: gpu (gpu01, gpu02: 4 fake GPUs each) and cpu (cpu01, cpu02), 16 CPUs and 64 GB a node,
# all make-believe. Account `research` with the users root and hpcuser. Ended jobs leave the queue
# after 10 s (the default is 300), so that accounting gets its turn. One process that outgrows its memory
# is killed by slurmd's own polling.
set -euo pipefail
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 022
# shellcheck source=/dev/null
. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

readonly user=hpcuser account=research cluster=testbed gpus=4
readonly nodes=(gpu01 gpu02 cpu01 cpu02)
readonly packages=(munge slurmctld slurmd slurmdbd slurm-client slurm-wlm-mysql-plugin
  mariadb-server-core mariadb-client-core procps util-linux)

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}
usage() {
  say "usage: ${0##*/} up|down|status [--directory DIR]"
  exit 2
}

action=${1:-}
directory=/var/tmp/hpcjobs-slurm
[ "$#" -eq 0 ] || shift
while [ "$#" -gt 0 ]; do
  case $1 in
    --directory) [ "$#" -ge 2 ] || usage; directory=$2; shift 2 ;;
    --directory=*) directory=${1#*=}; shift ;;
    *) usage ;;
  esac
done
case $directory in
  /*[![:alnum:]/._-]* | *..* | /) die "$directory: letters, digits and / . _ - only" ;;
  /*) ;;
  *) die "$directory is not absolute" ;;
esac
directory=${directory%/}
[ "${#directory}" -le 60 ] || die "$directory is too long for the sockets below it (60 characters)"
readonly etc=$directory/etc run=$directory/run logs=$directory/log state=$directory/state
readonly socket=$run/munge/munge.socket database_socket=$run/slurm/mariadb.sock
export SLURM_CONF=$etc/slurm.conf

# ---- Processes: known by pid and start time, since pids are used again ---------------------------

start_time() { # PID: prints it, in ticks since boot; fails for the dead and for zombies
  local fields
  fields=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  read -r -a fields <<<"${fields##*) }"
  case ${fields[0]} in Z | X) return 1 ;; esac
  echo "${fields[19]}"
}

running() { # NAME: its process still is the one that was started; sets $pid
  local started
  pid=''
  read -r pid started 2>/dev/null <"$run/pids/$1" || return 1
  [ "$(start_time "$pid")" = "$started" ]
}

start() { # NAME COMMAND...: in a session of its own, its output in log/NAME.out
  local name=$1 pid
  shift
  ! running "$name" || return 0
  setsid -- "$@" </dev/null >>"$logs/$name.out" 2>&1 9>&- &
  pid=$!
  printf '%s %s\n' "$pid" "$(start_time "$pid" || echo gone)" >"$run/pids/$name"
}

stop() { # SECONDS NAME...: TERM to all, then KILL to what is left after that time
  local end=$((SECONDS + $1)) name pid
  shift
  for name in "$@"; do
    ! running "$name" || kill -TERM "$pid" 2>/dev/null || true
  done
  for name in "$@"; do
    while running "$name"; do
      [ "$SECONDS" -lt "$end" ] || kill -KILL "$pid" 2>/dev/null || true
      sleep 0.1
    done
    rm -f "$run/pids/$name"
  done
}

wait_for() { # NAME SECONDS COMMAND...: until the command succeeds; the process must stay alive
  local name=$1 limit=$2 end=$((SECONDS + $2)) why='' pid
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ! running "$name"; then why="$name ended while it started"; fi
    if [ "$SECONDS" -ge "$end" ]; then why="$name is not ready after $limit s"; fi
    if [ -n "$why" ]; then
      tail -n 15 "$logs/$name.out" "$logs/$name.log" >&2 2>/dev/null || true
      die "$why (logs: $logs)"
    fi
    sleep 0.1
  done
}

# ---- up ------------------------------------------------------------------------------------------

make_directories() {
  local node index
  mkdir -p "$etc" "$run/pids" "$run/munge" "$run/slurm" "$logs" "$state/munge" "$state/ctld" \
    "$state/spool" "$directory/dev"
  for node in "${nodes[@]}"; do
    mkdir -p "$state/spool/$node"
  done
  # slurmd wants a file for every GPU; its number becomes CUDA_VISIBLE_DEVICES.
  for ((index = 0; index < gpus; index++)); do
    [ -e "$directory/dev/nvidia$index" ] ||
      mknod "$directory/dev/nvidia$index" c 1 3 2>/dev/null || : >"$directory/dev/nvidia$index"
  done
  chown slurm:slurm "$logs" "$state/ctld" "$run/slurm"
  chown munge:munge "$state/munge" "$run/munge"
}

random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

choose_ports() { # prints the first of eight neighbours that nobody uses
  local try port first taken
  taken=$(awk '{split($2, a, ":"); print a[2]}' /proc/net/tcp /proc/net/tcp6 2>/dev/null)
  for ((try = 0; try < 100; try++)); do
    first=$((16000 + RANDOM % 1900 * 8))
    for ((port = first; port < first + 8; port++)); do
      ! grep -qxi "$(printf '%04X' "$port")" <<<"$taken" || continue 2
    done
    echo "$first"
    return
  done
  die 'found no free ports between 16000 and 31200'
}

configure() { # once; a testbed that exists keeps its ports and keys
  local host port index node_lines=''
  [ ! -e "$etc/complete" ] || return 0
  host=$(hostname -s)
  if ! getent ahostsv4 "$host" >/dev/null; then
    printf '127.0.0.1 %s\n' "$host" >>/etc/hosts
    say "gave $host an address in /etc/hosts: Slurm looks its own name up"
  fi
  port=$(choose_ports)
  (umask 077 && random 16 >"$etc/database.password" && head -c 1024 /dev/urandom >"$etc/munge.key")
  chown munge:munge "$etc/munge.key"
  for index in "${!nodes[@]}"; do
    node_lines+="NodeName=${nodes[index]} NodeHostname=$host NodeAddr=127.0.0.1"
    node_lines+=" Port=$((port + 3 + index)) CPUs=16 CoresPerSocket=16 RealMemory=64000"
    case ${nodes[index]} in gpu*) node_lines+=" Gres=gpu:$gpus Feature=gpu" ;; *) node_lines+=' Feature=cpu' ;; esac
    node_lines+=$'\n'
  done
  cat >"$etc/slurm.conf" <<CONF
ClusterName=$cluster
SlurmctldHost=$host(127.0.0.1)
SlurmUser=slurm
AuthType=auth/munge
AuthInfo=socket=$socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort=$port
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/spool/%n
SlurmctldPidFile=$run/slurm/slurmctld.pid
SlurmdPidFile=$run/slurm/slurmd-%n.pid
SlurmctldLogFile=$logs/slurmctld.log
SlurmdLogFile=$logs/slurmd-%n.log
LogTimeFormat=iso8601
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=60
MessageTimeout=10
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=1000
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=2,bf_continue,sched_interval=5
PriorityType=priority/basic
MaxJobCount=20000
MinJobAge=10
KillWait=5
OverTimeLimit=0
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((port + 1))
AccountingStoragePass=$socket
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations
${node_lines}PartitionName=gpu Nodes=gpu01,gpu02 MaxTime=08:00:00 DefaultTime=01:00:00 State=UP
PartitionName=cpu Nodes=cpu01,cpu02 MaxTime=08:00:00 DefaultTime=01:00:00 State=UP Default=YES
CONF
  cat >"$etc/gres.conf" <<CONF
AutoDetect=off
NodeName=gpu01,gpu02 Name=gpu File=$directory/dev/nvidia[0-$((gpus - 1))]
CONF
  : >"$etc/cgroup.conf"
  (umask 077 && cat >"$etc/slurmdbd.conf") <<CONF
AuthType=auth/munge
AuthInfo=socket=$socket
DbdHost=$host
DbdAddr=127.0.0.1
DbdPort=$((port + 1))
CommunicationParameters=NoInAddrAny
SlurmUser=slurm
LogFile=$logs/slurmdbd.log
PidFile=$run/slurm/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((port + 2))
StorageUser=slurm
StoragePass=$(cat "$etc/database.password")
StorageLoc=slurm_acct_db
CONF
  chown slurm:slurm "$etc/slurmdbd.conf"
  echo "$((port + 2))" >"$etc/database.port"
  : >"$etc/complete"
}

munge_answers() { munge --socket="$socket" -n | unmunge --socket="$socket"; }
sql() { mariadb --no-defaults --socket="$database_socket" -u root -N; }
mariadb_answers() { sql <<<'select 1'; }
database_answers() { timeout 10 sacctmgr -n -P list cluster; }
controller_answers() { timeout 5 scontrol ping | grep -q 'is UP'; }
nodes_ready() { # those left down or drained by an earlier run are put to work again
  local states
  states=$(timeout 10 sinfo -h -N -o %T) || return 1
  ! grep -qE 'unk|down|drain|fail|inval|\*' <<<"$states" || {
    timeout 10 scontrol update "nodename=$(IFS=,; echo "${nodes[*]}")" state=resume
    return 1
  }
}

start_munge() {
  running munged || rm -f "$socket" "$socket.lock"
  start munged setpriv --reuid munge --regid munge --clear-groups munged --foreground \
    --origin=127.0.0.1 --socket="$socket" --key-file="$etc/munge.key" --num-threads=2 \
    --pid-file="$run/munge/munged.pid" --seed-file="$state/munge/seed" --log-file="$logs/munged.log"
  wait_for munged 20 munge_answers
}

start_accounting() {
  local password data=$state/mariadb who
  password=$(cat "$etc/database.password")
  if [ ! -e "$data.complete" ]; then
    rm -rf "$data"
    install -d -o slurm -g slurm -m 700 "$data"
    mariadb-install-db --no-defaults --datadir="$data" --user=slurm --skip-test-db --force \
      --skip-name-resolve --auth-root-authentication-method=socket \
      --auth-root-socket-user=root >"$logs/mariadb-install.log" 2>&1 ||
      die "mariadb-install-db failed; see $logs/mariadb-install.log"
    : >"$data.complete"
  fi
  start mariadbd mariadbd --no-defaults --user=slurm --datadir="$data" --socket="$database_socket" \
    --pid-file="$run/slurm/mariadbd.pid" --bind-address=127.0.0.1 --skip-name-resolve \
    --port="$(cat "$etc/database.port")" --innodb-buffer-pool-size=64M --innodb-log-file-size=32M \
    --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=2
  wait_for mariadbd 60 mariadb_answers
  sql <<SQL
CREATE DATABASE IF NOT EXISTS slurm_acct_db;
CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY '$password';
GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';
SQL
  start slurmdbd slurmdbd -D
  wait_for slurmdbd 90 database_answers
  [ ! -e "$state/accounts.complete" ] || return 0
  sacctmgr -i add cluster "$cluster" >/dev/null 2>&1 || true
  sacctmgr -i add account "$account" Description=testbed Organization=testbed >/dev/null 2>&1 || true
  for who in root "$user"; do
    sacctmgr -i add user "$who" Account="$account" >/dev/null 2>&1 || true
    sacctmgr -n -P list assoc user="$who" format=account | grep -qx "$account" ||
      die "$who could not be added to the account $account"
  done
  : >"$state/accounts.complete"
}

up() {
  local node
  install_packages "${packages[@]}"
  getent passwd "$user" >/dev/null || useradd --create-home --shell /bin/bash "$user"
  make_directories
  configure
  start_munge
  start_accounting
  start slurmctld slurmctld -D
  wait_for slurmctld 60 controller_answers
  for node in "${nodes[@]}"; do
    start "slurmd-$node" slurmd -D -N "$node"
  done
  wait_for slurmctld 90 nodes_ready
  echo "export SLURM_CONF=$SLURM_CONF"
}

# ---- down and status -----------------------------------------------------------------------------

names() { # of all that may run, in the order in which they are to be stopped
  printf '%s\n' slurmctld "${nodes[@]/#/slurmd-}" slurmdbd mariadbd munged
}

end_jobs() {
  local end=$((SECONDS + 30))
  running slurmctld && controller_answers || return 0
  timeout 30 scancel --state=PENDING || true
  timeout 30 scancel --state=RUNNING || true
  timeout 30 scancel --state=SUSPENDED || true
  while [ "$SECONDS" -lt "$end" ]; do
    [ -n "$(timeout 10 squeue -h -t RUNNING,SUSPENDED,COMPLETING -o %i)" ] || return 0
    sleep 0.3
  done
}

end_left_behind() { # processes that outlived their job: they carry our SLURM_CONF and a job's id
  local signal path words
  for signal in TERM KILL; do
    for path in /proc/[0-9]*; do
      [ "$path" != "/proc/$$" ] || continue
      words=$(tr '\0' '\n' 2>/dev/null <"$path/environ") || continue
      if grep -qx "SLURM_CONF=$SLURM_CONF" <<<"$words" && grep -q '^SLURM_JOB_ID=' <<<"$words"; then
        kill "-$signal" "${path#/proc/}" 2>/dev/null || true
      fi
    done
    sleep 1
  done
}

down() {
  end_jobs
  stop 30 slurmctld "${nodes[@]/#/slurmd-}"
  end_left_behind
  stop 30 slurmdbd
  stop 60 mariadbd
  stop 10 munged
  rm -rf "$directory"
}

status() {
  local name pid all=0
  for name in $(names); do
    if running "$name"; then
      echo "$name runs, pid $pid"
    else
      echo "$name does not run"
      all=1
    fi
  done
  [ "$all" -ne 0 ] || echo "export SLURM_CONF=$SLURM_CONF"
  return "$all"
}

# A directory is ours if `up` made it: `down` removes nothing else.
readonly mark=$directory/.hpcjobs-slurm-testbed
one_at_a_time() {
  while :; do
    exec 9>"$directory.lock"
    flock -w 300 9 || die "another ${0##*/} works on $directory since 300 s"
    [ ! "$directory.lock" -ef "/proc/$$/fd/9" ] || return 0 # else `down` has just removed it
  done
}

case $action in
  up)
    [ "$(id -u)" -eq 0 ] || die 'up needs root'
    mkdir -p "$(dirname "$directory")"
    one_at_a_time
    if [ -e "$directory" ] && [ ! -e "$mark" ] && [ -n "$(ls -A "$directory")" ]; then
      die "$directory exists, is not empty, and was not made by this script"
    fi
    mkdir -p "$directory"
    chown root:root "$directory"
    chmod 755 "$directory"
    : >"$mark"
    up
    ;;
  down)
    [ "$(id -u)" -eq 0 ] || die 'down needs root'
    [ -e "$mark" ] || exit 0
    one_at_a_time
    down
    rm -f "$directory.lock"
    ;;
  status) status ;;
  *) usage ;;
esac
