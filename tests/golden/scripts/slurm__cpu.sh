#!/bin/bash
#SBATCH --job-name=hbcdr68-01_ja_gpqa_o3-mini-2025-01-31
#SBATCH --time=00:30:00
#SBATCH --chdir=/work-area/group/eval/jobs/hbcdr68/01
#SBATCH --output=/work-area/group/eval/jobs/hbcdr68/01/scheduler.out
#SBATCH --open-mode=append
#SBATCH --no-requeue
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --partition=cpu
#
# hpcjobs hbcdr68-01: openai/o3-mini-2025-01-31 on slurm/cpu
#   ja_gpqa: lighteval swallow_gpqa_ja
# This script is complete: read it, or submit it by hand, once, with
#   mkdir -p /work-area/group/eval/jobs/hbcdr68/01
#   sbatch --parsable /work-area/group/eval/jobs/hbcdr68/01/job.sh
# What it writes lies in that directory: job.log, server.log, a log a task, results/, and markers
# (started, ready, task.*, signal, failure, exit_code) from which hpcjobs reads how it went.

# shellcheck disable=SC2016,SC2329 # names may hold `$`; traps and run_task call functions by name
set -u -o pipefail
umask 027

readonly attempt_dir=/work-area/group/eval/jobs/hbcdr68/01
readonly env_file=/work-area/group/eval/.env # keys are read from here, never written elsewhere
readonly deadline=1740 # seconds; the walltime is 1800
readonly stop_grace=5 # seconds between TERM and KILL
native_id=${SLURM_JOB_ID:-}

mkdir -p "$attempt_dir" && cd "$attempt_dir" || exit 90
exec >>job.log 2>&1 </dev/null

say() { printf '%s %s\n' "$(date -u +%FT%TZ)" "$*"; }

mark() { # NAME [VALUE]: a fact for hpcjobs; written once, whole or not at all
  [ -e "$1" ] && return 0
  printf '%s %s\n' "${2:--}" "$(date -u +%FT%TZ)" >".$1.tmp" && mv ".$1.tmp" "$1"
}

# Who makes this directory has the attempt: of two that start at once, one goes no further.
if [ -e started ] || ! mkdir work; then
  [ -e started ] || [ -d work ] || exit 90
  mark restarted "$native_id"
  say "this attempt was started before; hpcjobs never runs one twice"
  exit 93
fi
mark started "$native_id" || exit 90
mark host "${SLURMD_NODENAME:-$(uname -n)}"

# ---- Ending: all that was started is stopped on every way out ------------------------------------

code=70 # what this job ends with; it becomes 0 in one place only, after the last task
server_pid='' evaluator_pid=''
token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')

fail() { # CODE WORD MESSAGE
  mark failure "$2"
  say "failed, $2: $3"
  code=$1
  exit "$code"
}

ignore_signals() { trap '' TERM INT HUP USR1 USR2 XCPU; }

# Finds, in $ours, the processes of these roles: those of their sessions, those that carry their
# mark, and what these started. (A process that renames itself, as vLLM's engine does, wipes out its
# mark; others leave the session.) What was found stays ours until it ends.
find_processes() { # ROLES SESSION...: 0 if there are any
  local roles=$1 path pid stat marked again=1 form='[)] [^ZX] ([0-9]+) [0-9]+ ([0-9]+) [^)]*$'
  local -A parent=() session=()
  shift
  marked=$(grep -lzsE "^HPCJOBS_PART=${token}[.]($roles)$" /proc/[0-9]*/environ | cut -d/ -f3)
  for path in /proc/[0-9]*; do
    stat=''
    { read -rd '' stat <"$path/stat"; } 2>/dev/null
    [[ $stat =~ $form ]] || continue
    parent[${path#/proc/}]=${BASH_REMATCH[1]}
    session[${path#/proc/}]=${BASH_REMATCH[2]}
  done
  for pid in $marked; do
    ours[$pid]=1
  done
  for pid in "${!ours[@]}"; do
    [ -n "${parent[$pid]:-}" ] || unset "ours[$pid]"
  done
  while [ -n "$again" ]; do
    again=''
    for pid in "${!parent[@]}"; do
      [ -z "${ours[$pid]:-}" ] || continue
      case " $* " in
        *" $pid "* | *" ${session[$pid]} "*) ;;
        *) [ -n "${ours[${parent[$pid]}]:-}" ] || continue ;;
      esac
      ours[$pid]=1 again=1
    done
  done
  [ "${#ours[@]}" -gt 0 ]
}

stop() { # ROLES SESSION...: TERM; KILL to what is left $stop_grace seconds later
  local end=$((SECONDS + stop_grace)) signal=TERM
  local -A ours=()
  while find_processes "$@"; do
    [ "$SECONDS" -lt "$end" ] || signal=KILL
    [ -z "$signal" ] || kill -s "$signal" "${!ours[@]}" 2>/dev/null
    [ "$signal" = KILL ] || signal=''
    [ "$SECONDS" -lt $((end + 10)) ] || return 1
    sleep 0.1
  done
}

# A second shell, in a session of its own, tidies up where this one is killed without warning. It
# reads from this one which sessions began and ended, and `done`; the end of input is its death.
watch_over() { # TOKEN STOP_GRACE
  local token=$1 stop_grace=$2 word session
  local -A sessions=()
  ignore_signals
  while read -r word session; do
    case $word in
      began) sessions[$session]=1 ;;
      ended) unset "sessions[$session]" ;;
      *) return 0 ;;
    esac
  done
  printf '%s the job was killed; ending what it left behind\n' "$(date -u +%FT%TZ)"
  stop 'server|evaluator[0-9]*' "${!sessions[@]}"
}
watch=$(declare -f ignore_signals find_processes stop watch_over)
exec 9> >(exec setsid bash -c "$watch; watch_over \"\$@\"" hpcjobs-watch "$token" "$stop_grace")

on_exit() {
  ignore_signals
  trap - EXIT
  # All children are named: one may have been started just before the signal came.
  # shellcheck disable=SC2046,SC2086
  stop 'server|evaluator[0-9]*' $server_pid $evaluator_pid $(jobs -rp) || say 'some processes did not end'
  echo 'done' >&9
  say "exit code $code"
  mark exit_code "$code" || code=90
  exit "$code"
}
on_signal() { # NAME NUMBER; no `exit` here: within the EXIT trap, it would cut that short
  ignore_signals
  mark signal "$1"
  say "stopped by signal $1"
  code=$((128 + $2))
  on_exit
}
trap on_exit EXIT
trap ':' PIPE
trap 'on_signal TERM 15' TERM
trap 'on_signal INT 2' INT
trap 'on_signal HUP 1' HUP
trap 'on_signal USR1 10' USR1
trap 'on_signal USR2 12' USR2
trap 'on_signal XCPU 24' XCPU

# ---- Starting and watching -----------------------------------------------------------------------

# Starts a command in a session of its own; $started is its pid and its session. USR1 and USR2, which
# some schedulers send to every process as a warning, are left to this shell.
start() { # ROLE DIRECTORY LOG COMMAND...
  local role=$1 directory=$2 log=$3
  shift 3
  command -v -- "$1" >/dev/null || fail 91 command_not_found "no command '$1' on PATH ($PATH)"
  (
    trap '' USR1 USR2
    cd "$directory" || exit 90
    [ "$role" = evaluator ] || unset OPENAI_API_KEY DEEPINFRA_API_KEY
    HPCJOBS_PART=$token.$role exec setsid -- "$@" 9>&-
  ) >>"$log" 2>&1 &
  started=$!
  echo "began $started" >&9
}

pause() { # so that a signal is acted on at once, not after a command in the foreground
  sleep 0.5 &
  wait "$!"
}

alive() { # PID; what ended it may have been sent to us, too: that signal, if any, is to come first
  kill -0 "$1" 2>/dev/null && return 0
  pause
  return 1
}

check_deadline() {
  [ "$SECONDS" -lt "$deadline" ] ||
    fail 95 deadline "not finished 60 s before the walltime"
}

read_key() { # NAME: export it with its value in $env_file, if that has one
  local line value=
  [ -r "$env_file" ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do
    line=${line#$'\xef\xbb\xbf'} # the mark that some editors put at the start of a file
    if [[ $line =~ ^[[:space:]]*(export[[:space:]]+)?"$1"=(.*)$ ]]; then
      value=${BASH_REMATCH[2]}
      value=${value%"${value##*[![:space:]]}"}
      case $value in
        \"*\" | \'*\') value=${value:1:${#value}-2} ;;
        '<'*'>') value='' ;; # the placeholder of .env_template
      esac
    fi
  done <"$env_file"
  [ -z "$value" ] || export "$1=$value"
}

set +u # the sites' own profile scripts use variables that may be unset
set -u
{ set +x; } 2>/dev/null # from here on there are keys in variables, which a trace would show
export HF_HOME=/work-area/group/cache/huggingface
export VLLM_CACHE_ROOT=/work-area/group/cache/vllm
export PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1
read_key HF_TOKEN
read_key OPENAI_API_KEY
read_key DEEPINFRA_API_KEY

# ---- The server: openai, which runs elsewhere ------------------------------------------------------

[ -n "${OPENAI_API_KEY:-}" ] ||
  fail 91 no_key 'OPENAI_API_KEY is not set in /work-area/group/eval/.env'

start_server() { mark ready; }
check_server() { :; }
server_answers() { :; }
save_metrics() { :; }

# ---- The tasks -----------------------------------------------------------------------------------

evaluate_1() { # ja_gpqa
  local PATH=/work-area/group/repo/environments/lighteval/bin:$PATH
  {
    printf 'model:\n  base_params:\n'
    printf '    model_name: %s\n' '"openai/o3-mini-2025-01-31"'
    printf '    base_url: "%s"\n' https://api.openai.com/v1
    printf '  generation:\n'
    printf '    %s\n' 'max_n: 8'
    printf '    %s\n' 'reasoning_effort: "high"'
    printf '    %s\n' 'temperature: 0.0'
  } >"$work_dir/model.yaml"
  LITELLM_LOG=WARNING start evaluator "$work_dir" "$log" \
    lighteval endpoint litellm model.yaml 'swallow|swallow_gpqa_ja|0|0' \
    --use-chat-template \
    --output-dir "$attempt_dir/results"/ja/gpqa --save-details
}

run_task() { # KEY FUNCTION: 0 if the evaluator ended with 0
  local key=$1 status
  work_dir=$attempt_dir/work/$key # fresh: nothing of an earlier attempt is read again
  mkdir -p "$work_dir" || fail 90 no_directory "cannot create $work_dir"
  check_server
  mark "task.$key.started"
  say "$key: started"
  log=$attempt_dir/$key.log
  save_metrics "$key" begin
  "$2"
  evaluator_pid=$started
  while alive "$evaluator_pid"; do
    check_server
    check_deadline
    pause
  done
  wait "$evaluator_pid"
  status=$?
  stop evaluator "$evaluator_pid"
  echo "ended $evaluator_pid" >&9
  evaluator_pid=''
  check_server
  server_answers || fail 99 server_died 'the server lives, but cannot answer; see server.log'
  save_metrics "$key" end
  mark "task.$key.exit_code" "$status"
  say "$key: exit code $status"
  return "$status"
}

start_server
failed=0
run_task ja_gpqa evaluate_1 || failed=$?
code=$failed
exit "$code"
