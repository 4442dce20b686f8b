#!/usr/bin/env bash
# A real Grid Engine (Son of Grid Engine 8.1.9) on this one machine, for tests: sge_qmaster and
# sge_execd on loopback, without systemd, with a site in front of it that is like TSUBAME4.
# Needs Debian 12 (or like it) and root.
#
#   scripts/testbeds/grid_engine.sh up      installs what is missing by apt, configures, starts, waits
#   scripts/testbeds/grid_engine.sh status  says what runs; its exit status is 0 if all does
#   scripts/testbeds/grid_engine.sh down    stops what `up` started, and removes the directory
#
# Everything lies below --directory DIR (default /var/tmp/hpcjobs-grid-engine), SGE_ROOT too; the
# cell that Debian's packages make in /var/lib/gridengine is left alone, and several testbeds may run
# beside one another. `up` again is harmless, and restarts what has died. What remains afterwards:
# the packages, the user hpcuser, its groups tga-hpcjobs and tga-other, and, where the host's own name
# had no address, a line in /etc/hosts.
#
# `up --accounting-lag SECONDS`: how often the accounting is written, so a record lags by up to that
# long (default 0, at once; Grid Engine's own default is 15). `up` again changes it as well.
#
# The site: TSUBAME4's resource types as complexes, and a `qsub` with its rules. h_rt must be given;
# -g GROUP is a UNIX group of the user, on the command line only; without it a job is a trial of
# at most 3 minutes and 2 units, one of which runs at a time. Unlike there, root may submit, for
# any group: tests do so where hpcuser cannot read what they test.
set -euo pipefail
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 022
# shellcheck source=/dev/null
. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

readonly user=hpcuser admin=sgeadmin host=localhost programs=/usr/lib/gridengine slots=160
readonly groups=(tga-hpcjobs tga-other)
readonly types=(node_f=4 node_h=8 node_q=16 node_o=32 gpu_1=16 gpu_h=32
  cpu_160=4 cpu_80=8 cpu_40=16 cpu_16=32 cpu_8=64 cpu_4=64 trial=99)
# A mailer and a small MTA stand here so that apt does not choose exim4; tcc compiles one function.
readonly packages=(gridengine-master gridengine-exec gridengine-client gridengine-common
  bsd-mailx msmtp-mta tcc netbase procps util-linux)

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}
usage() {
  say "usage: ${0##*/} up [--accounting-lag SECONDS]|down|status [--directory DIR]"
  exit 2
}

action=${1:-}
directory=/var/tmp/hpcjobs-grid-engine
lag=0
[ "$#" -eq 0 ] || shift
while [ "$#" -gt 0 ]; do
  case $1 in
    --directory) [ "$#" -ge 2 ] || usage; directory=$2; shift 2 ;;
    --directory=*) directory=${1#*=}; shift ;;
    --accounting-lag) [ "$#" -ge 2 ] || usage; lag=$2; shift 2 ;;
    --accounting-lag=*) lag=${1#*=}; shift ;;
    *) usage ;;
  esac
done
case $directory in
  /*[![:alnum:]/._-]* | *..* | /) die "$directory: letters, digits and / . _ - only" ;;
  /*) ;;
  *) die "$directory is not absolute" ;;
esac
case $lag in [0-9] | [1-5][0-9]) ;; *) die "--accounting-lag $lag: 0 to 59 seconds" ;; esac
directory=${directory%/}
readonly etc=$directory/etc run=$directory/run logs=$directory/log bin=$directory/bin
readonly spool=$directory/spool common=$directory/root/default/common
export SGE_ROOT=$directory/root SGE_CELL=default
unset SGE_CLUSTER_NAME SGE_SINGLE_LINE SGE_DEBUG_LEVEL

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
      tail -n 15 "$logs/$name.out" "$spool/${name#sge_}/messages" "$spool/execd/$host/messages" \
        >&2 2>/dev/null || true
      die "$why (logs: $logs, $spool/*/messages)"
    fi
    sleep 0.1
  done
}

# ---- up: packages, users, directories, the cell --------------------------------------------------

make_no_cell() { # Debian's packages would make one when they are installed
  local package
  for package in common client master exec; do
    echo "gridengine-$package shared/gridengineconfig boolean false"
  done | debconf-set-selections
}

make_users() {
  local group
  getent passwd "$user" >/dev/null || useradd --create-home --shell /bin/bash "$user"
  for group in "${groups[@]}"; do
    getent group "$group" >/dev/null || groupadd "$group"
    id -nG "$user" | tr ' ' '\n' | grep -qx "$group" || usermod -aG "$group" "$user"
  done
}

make_directories() {
  mkdir -p "$etc" "$run/pids" "$logs" "$bin" "$common" "$spool"/{qmaster/job_scripts,data,execd}
  ln -sfn /usr/share/gridengine/util "$SGE_ROOT/util"
  chown -R "$admin:$admin" "$SGE_ROOT/default" "$spool"
  install -d -m 1777 "$directory/tmp" # of the jobs
}

choose_ports() { # prints the first of two neighbours that nobody uses; of 190 pairs
  local try first taken
  taken=$(awk '{split($2, a, ":"); print a[2]}' /proc/net/tcp /proc/net/tcp6 2>/dev/null)
  for ((try = 0; try < 500; try++)); do
    first=$((14000 + RANDOM % 190 * 2))
    ! grep -qxi -e "$(printf '%04X' "$first")" -e "$(printf '%04X' $((first + 1)))" <<<"$taken" ||
      continue
    echo "$first"
    return
  done
  die 'found no free ports between 14000 and 14379'
}

set_values() { # FILE KEY=VALUE...: replaces these lines of one of Grid Engine's forms
  local file=$1 pair
  shift
  for pair in "$@"; do
    sed -i -E "s|^(${pair%%=*}[[:space:]]+).*|\\1${pair#*=}|" "$file"
    grep -q "^${pair%%=*}[[:space:]]" "$file" || echo "${pair%%=*} ${pair#*=}" >>"$file"
  done
}

compile_shim() {
  # Both daemons listen on all addresses, which no option changes, and believe any client's user id.
  # In them bind() is replaced by one that means loopback; what they start does not inherit it.
  cat >"$etc/loopback.c" <<'C'
struct address { unsigned short family, port; unsigned ip, rest[2]; };
void *dlsym(void *, const char *);
int unsetenv(const char *);
int bind(int socket, const struct address *name, unsigned size)
{
    int (*next)(int, const struct address *, unsigned) = dlsym((void *)-1, "bind");
    struct address here;
    unsetenv("LD_PRELOAD");
    if (size < sizeof here || name->family != 2 || name->ip) return next(socket, name, size);
    here = *name;
    here.ip = 0x0100007f;
    return next(socket, &here, sizeof here);
}
C
  tcc -shared -nostdlib -o "$etc/loopback.so" "$etc/loopback.c"
}

configure() { # once; a testbed that exists keeps its ports
  local own name names='' pair port file
  [ ! -e "$etc/complete" ] || return 0
  own=$(hostname)
  for name in "$host" "$own"; do
    getent ahostsv4 "$name" >/dev/null || {
      printf '127.0.0.1 %s\n' "$name" >>/etc/hosts
      say "gave $name an address in /etc/hosts: Grid Engine looks its own name up"
    }
  done
  port=$(choose_ports)
  cat >"$etc/environment" <<ENVIRONMENT
export SGE_ROOT=$SGE_ROOT SGE_CELL=$SGE_CELL
export SGE_QMASTER_PORT=$port SGE_EXECD_PORT=$((port + 1))
ENVIRONMENT
  # A job's processes are known, and killed, by a group of this range: no two testbeds share one.
  echo "$((20000 + (port - 14000) * 100)) $((20199 + (port - 14000) * 100))" >"$etc/gids"
  # Whatever this machine is called, Grid Engine knows it by one name.
  for name in $own $({ getent hosts "$own"; getent hosts 127.0.0.1; } | awk '{$1 = ""; print}'); do
    case " $host $names " in *" $name "*) continue ;; esac
    ! getent ahostsv4 "$name" >/dev/null || names+=" $name"
  done
  echo "$host$names" >"$common/host_aliases"
  echo "$host" >"$common/act_qmaster"
  echo "testbed-$port" >"$common/cluster_name"
  cat >"$common/bootstrap" <<BOOTSTRAP
admin_user $admin
default_domain none
ignore_fqdn true
spooling_method berkeleydb
spooling_lib libspoolb
spooling_params $spool/data
binary_path $programs
qmaster_spool_dir $spool/qmaster
security_mode none
listener_threads 2
worker_threads 2
scheduler_threads 1
BOOTSTRAP
  chown "$admin:$admin" "$common"/*
  compile_shim
  make_clients
  make_cell
  : >"$etc/complete"
}

make_cell() { # the data base from which the master starts
  local defaults=/usr/share/gridengine forms=$etc/forms pair low high
  rm -rf "$forms" "$spool/data"
  install -d -o "$admin" -g "$admin" "$spool/data"
  mkdir -p "$forms"/{complexes,hosts,environments}
  read -r low high <"$etc/gids"
  cp "$defaults/default-configuration" "$forms/global"
  set_values "$forms/global" "execd_spool_dir=$spool/execd" "gid_range=$low-$high" mailer=/bin/true \
    administrator_mail=none load_report_time=00:00:05 execd_params=USE_QSUB_GID=true \
    min_uid=0 min_gid=0
  cp "$defaults/util/resources/centry"/* "$forms/complexes"
  for pair in "${types[@]}"; do
    printf '%s\n' "name ${pair%=*}" "shortcut ${pair%=*}" 'type INT' 'relop <=' 'requestable YES' \
      'consumable YES' 'default 0' 'urgency 0' >"$forms/complexes/${pair%=*}"
  done
  printf '%s\n' "hostname $host" 'load_scaling NONE' "complex_values $(IFS=,; echo "${types[*]}")" \
    'user_lists NONE' 'xuser_lists NONE' 'projects NONE' 'xprojects NONE' 'usage_scaling NONE' \
    'report_variables NONE' >"$forms/hosts/$host"
  cat >"$forms/environments/smp" <<ENVIRONMENT
pe_name smp
slots $slots
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule \$pe_slots
control_slaves FALSE
job_is_first_task TRUE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
ENVIRONMENT
  cat >"$forms/queue" <<QUEUE
qname all.q
hostlist $host
seq_no 0
load_thresholds NONE
suspend_thresholds NONE
nsuspend 1
suspend_interval 00:05:00
priority 0
min_cpu_interval 00:05:00
processors UNDEFINED
qtype BATCH INTERACTIVE
ckpt_list NONE
pe_list smp
rerun FALSE
slots $slots
tmpdir $directory/tmp
shell /bin/bash
prolog NONE
epilog NONE
shell_start_mode unix_behavior
starter_method NONE
suspend_method NONE
resume_method NONE
terminate_method NONE
notify 00:00:05
owner_list NONE
user_lists NONE
xuser_lists NONE
subordinate_list NONE
complex_values NONE
projects NONE
xprojects NONE
calendar NONE
initial_state default
$(printf '%s INFINITY\n' {s,h}_{rt,cpu,fsize,data,stack,core,rss,vmem})
QUEUE
  printf '%s\n' '{' 'name trial' 'description "one trial a user"' 'enabled TRUE' \
    'limit users {*} to trial=1' '}' >"$forms/quota"
  chown -R "$admin" "$forms"
  for pair in "configuration $forms/global" "complexes $forms/complexes" \
    "usersets $defaults/util/resources/usersets" "managers root $admin" \
    "exechosts $forms/hosts" "pes $forms/environments"; do
    [ -e "$spool/data/sge" ] ||
      noted as_admin "$programs/spoolinit" berkeleydb libspoolb "$spool/data" init
    # shellcheck disable=SC2086
    noted as_admin "$programs/spooldefaults" $pair
  done
}

as_admin() { setpriv --reuid "$admin" --regid "$admin" --clear-groups -- "$@"; }
noted() { "$@" >>"$logs/settings.log" 2>&1 || die "failed: $* (see $logs/settings.log)"; }

# ---- up: what people and tests call --------------------------------------------------------------

make_clients() { # thin ones: Debian's in /usr/bin look for the architecture for 80 ms a call
  local name
  for name in qacct qalter qconf qdel qhold qhost qmod qping qquota qresub qrls qselect qstat; do
    cat >"$bin/$name" <<CLIENT
#!/bin/sh
. "$etc/environment"
exec "$programs/$name" "\$@"
CLIENT
  done
  printf '#!/bin/bash\n. "%s"\nreadonly real=%s types="%s"\n' \
    "$etc/environment" "$programs/qsub" "${types[*]%=*}" >"$bin/qsub"
  cat >>"$bin/qsub" <<'QSUB'
# The site's own qsub, in the manner of TSUBAME4: -g GROUP, h_rt must be given, and without a group
# a job is a trial of 3 minutes and 2 units, one at a time. All else is Grid Engine's.
reject() { printf 'Unable to run job: Job is rejected%s\nExiting.\n' "$1" >&2; exit 1; }
invalid() { printf "ERROR! invalid option argument '%s'\n" "$1" >&2; exit 2; }

walltime='' units=0
resources() { # of one -l
  local one
  local IFS=,
  for one in $1; do
    case $one in
      h_rt=*) walltime=${one#*=} ;;
      *=*[!0-9]*) ;;
      *=?*) case " $types " in *" ${one%%=*} "*) units=$((units + ${one#*=})) ;; esac ;;
    esac
  done
}

group='' script='' binary='' words=()
while [ "$#" -gt 0 ]; do
  case $1 in
    -g) [ "$#" -ge 2 ] || invalid -g; group=$2; shift 2; continue ;;
    -l) resources "${2:-}"; count=2 ;;
    -b) case ${2:-} in [yY]*) binary=1 ;; esac; count=2 ;;
    -pe) count=3 ;;
    -cwd | -clear | -h | -hard | -notify | -soft | -terse | -V | -verify | -help) count=1 ;;
    -?*) count=2 ;;
    *) script=$1; words+=("$@"); break ;;
  esac
  [ "$#" -ge "$count" ] || count=$#
  words+=("${@:1:count}")
  shift "$count"
done
if [ -z "$binary" ] && [ -f "$script" ] && [ -r "$script" ]; then
  while read -r -a line; do
    for ((index = 0; index < ${#line[@]}; index++)); do
      case ${line[index]} in
        -g) invalid -g ;;
        -l) given=$walltime
          resources "${line[index + 1]:-}"
          walltime=${given:-$walltime} ;;
      esac
    done
  done < <(sed -n 's/^#\$//p' "$script")
fi

if [ -n "$group" ]; then
  if [ "$(id -u)" -eq 0 ]; then getent group "$group"; else id -nG; fi |
    tr ' :' '\n\n' | grep -Fqx -e "$group" ||
    reject ". group \"$group\" does not exist or you are not a member of it"
fi
[ -n "$walltime" ] || [ ! -r "$script" ] || reject '. h_rt must be specified.'
if [ -z "$group" ]; then
  IFS=: read -r hours minutes seconds <<<"$walltime"
  case $walltime in
    *[!0-9:]* | '') total=0 ;; # Grid Engine itself complains
    *:*) total=$((10#${hours:-0} * 3600 + 10#${minutes:-0} * 60 + 10#${seconds:-0})) ;;
    *) total=$((10#$walltime)) ;;
  esac
  [ "$total" -le 180 ] || reject ', h_rt can not be longer than 3 mins with this group'
  [ "$units" -le 2 ] || reject ', no more than 2 units with this group'
  exec "$real" -l trial=1 "${words[@]}"
fi
[ "$group" != "$(id -gn)" ] || exec "$real" "${words[@]}"
exec sg "$group" -c "$(printf '%q ' exec "$real" "${words[@]}")"
QSUB
  chmod 755 "$bin"/*
}

# ---- up: the daemons -----------------------------------------------------------------------------

daemon() { # NAME: in the foreground (SGE_ND), on loopback, as root, without our environment
  # shellcheck disable=SC1091
  . "$etc/environment"
  start "sge_$1" env -i PATH="$PATH" SGE_ND=1 LD_PRELOAD="$etc/loopback.so" SGE_ROOT="$SGE_ROOT" \
    SGE_CELL="$SGE_CELL" SGE_QMASTER_PORT="$SGE_QMASTER_PORT" SGE_EXECD_PORT="$SGE_EXECD_PORT" \
    "$programs/sge_$1"
}

master_answers() { timeout 10 "$bin/qconf" -sconf global; }
host_ready() { # it has reported its load, and its queue has no letter of trouble
  timeout 10 "$bin/qstat" -f -q all.q |
    awk '$1 ~ /^all\.q@/ { ready = $4 != "-NA-" && NF == 5 } END { exit !ready }'
}

settle() { # what only a running master takes; the lag may change with every `up`
  local forms=$etc/forms qconf=(timeout 30 "$bin/qconf")
  "${qconf[@]}" -ss 2>/dev/null | grep -qx "$host" || noted "${qconf[@]}" -as "$host"
  "${qconf[@]}" -sq all.q >/dev/null 2>&1 || noted "${qconf[@]}" -Aq "$forms/queue"
  "${qconf[@]}" -srqs trial >/dev/null 2>&1 || noted "${qconf[@]}" -Arqs "$forms/quota"
  "${qconf[@]}" -ssconf >"$forms/scheduler"
  set_values "$forms/scheduler" schedule_interval=0:0:2 flush_submit_sec=1 flush_finish_sec=1 \
    schedd_job_info=true job_load_adjustments=NONE load_adjustment_decay_time=0:0:0
  noted "${qconf[@]}" -Msconf "$forms/scheduler"
  set_values "$forms/global" "reporting_params=accounting=true reporting=false flush_time=00:00:15 $(
    printf 'accounting_flush_time=00:00:%02d joblog=false sharelog=00:00:00' "$lag"
  )"
  noted "${qconf[@]}" -Mconf "$forms/global"
}

exports() { # the clients below bin find it by themselves; other programs by these variables
  cat "$etc/environment"
  echo "export PATH=$bin:\$PATH"
}

up() {
  make_no_cell
  install_packages "${packages[@]}"
  make_users
  make_directories
  configure
  # A living execd looks for a new master only after 30 s, a new execd at once; jobs outlive both.
  running sge_qmaster || stop 15 sge_execd
  daemon qmaster
  wait_for sge_qmaster 60 master_answers
  settle
  daemon execd
  wait_for sge_execd 60 host_ready
  exports
}

# ---- down and status -----------------------------------------------------------------------------

job_processes() { # prints the pids of our shepherds, and of whatever has the group of a job
  local low high name pid
  read -r low high 2>/dev/null <"$etc/gids" || return 0
  { cat /proc/[0-9]*/status 2>/dev/null || true; } | awk -v low="$low" -v high="$high" '
    $1 == "Name:" { name = $2 }
    $1 == "State:" { state = $2 }
    $1 == "Pid:" { pid = $2 }
    $1 == "Groups:" && state != "Z" && state != "X" {
      if (name == "sge_shepherd") print name, pid
      for (i = 2; i <= NF; i++) if ($i >= low && $i <= high) { print "job", pid; break }
    }' |
    while read -r name pid; do
      case $name$(readlink "/proc/$pid/cwd" 2>/dev/null) in
        job* | "sge_shepherd$spool/execd/"*) echo "$pid" ;;
      esac
    done
}

end_jobs() { # until none is found that had a child meanwhile
  local end=$((SECONDS + 20)) pids
  while [ "$SECONDS" -lt "$end" ]; do
    pids=$(job_processes)
    [ -n "$pids" ] || return 0
    # shellcheck disable=SC2086
    kill -KILL $pids 2>/dev/null || true
    sleep 0.1
  done
}

down() {
  stop 5 sge_execd
  end_jobs
  stop 1 sge_qmaster # it would take 7 s to save what is now removed
  rm -rf "$directory"
}

status() {
  local name pid all=0
  for name in sge_qmaster sge_execd; do
    if running "$name"; then
      echo "$name runs, pid $pid"
    else
      echo "$name does not run"
      all=1
    fi
  done
  [ "$all" -ne 0 ] || exports
  return "$all"
}

# A directory is ours if `up` made it: `down` removes nothing else.
readonly mark=$directory/.hpcjobs-grid-engine-testbed
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
