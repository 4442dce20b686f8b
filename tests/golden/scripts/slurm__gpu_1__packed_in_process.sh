#!/bin/bash
#SBATCH --job-name=xtyase6-01_3tasks_Llama-3.1-Swallow-8B-Instruct-v0.5
#SBATCH --time=01:40:00
#SBATCH --chdir=/work-area/group/eval/jobs/xtyase6/01
#SBATCH --output=/work-area/group/eval/jobs/xtyase6/01/scheduler.out
#SBATCH --open-mode=append
#SBATCH --no-requeue
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --partition=gpu
#SBATCH --gres=gpu:1
#
# hpcjobs xtyase6-01: tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.5 on slurm/gpu_1
#   demo_sums: lm_eval demo_sums
#   ja_gpqa: lighteval swallow_gpqa_ja
#   ja_mmlu: lighteval swallow_jmmlu
# This script is complete: read it, or submit it by hand, once, with
#   mkdir -p /work-area/group/eval/jobs/xtyase6/01
#   sbatch --parsable /work-area/group/eval/jobs/xtyase6/01/job.sh
# What it writes lies in that directory: job.log, server.log, a log a task, results/, and markers
# (started, ready, task.*, signal, failure, exit_code) from which hpcjobs reads how it went.

# shellcheck disable=SC2016,SC2329 # names may hold `$`; traps and run_task call functions by name
set -u -o pipefail
umask 027

readonly attempt_dir=/work-area/group/eval/jobs/xtyase6/01
readonly env_file=/work-area/group/eval/.env # keys are read from here, never written elsewhere
readonly deadline=5940 # seconds; the walltime is 6000
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
    HPCJOBS_PART=$token.$role${slot:-} exec setsid -- "$@" 9>&-
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

# ---- The GPUs, by index: vLLM fails on the UUIDs by which some schedulers name them --------------

# Indices are only used where they surely mean the same devices. An index of a GPU that is cut into
# slices means its first one, so the index 0 stands for a slice only if no other is to be seen.
name_gpus_by_index() {
  local wanted=${CUDA_VISIBLE_DEVICES:-} list=$attempt_dir/work/.gpus
  local id line matches shown indices='' ids=()
  local gpu='^GPU ([0-9]+): .*[(]UUID: (GPU-[^)]+)[)]' slice='[(]UUID: (MIG-[^)]+)[)]'
  case $wanted in
    *GPU-* | *MIG-*) ;;
    *) return 0 ;;
  esac
  timeout -k 5 30 nvidia-smi -L >"$list" 2>/dev/null & # a signal must not wait for it
  wait "$!" || : >"$list"
  shown=$(grep -c 'UUID: ' "$list")
  IFS=', ' read -ra ids <<<"$wanted"
  for id in "${ids[@]}"; do
    matches=''
    while IFS= read -r line; do
      if [[ $line =~ $gpu ]]; then
        # The beginning of a UUID is enough for CUDA, too.
        [ "${BASH_REMATCH[2]#"$id"}" = "${BASH_REMATCH[2]}" ] || matches+=" ${BASH_REMATCH[1]}"
      elif [[ $line =~ $slice ]]; then
        [ "$shown $id" != "2 ${BASH_REMATCH[1]}" ] || matches+=' 0'
      fi
    done <"$list"
    case $matches in
      ' '*' '* | '')
        say "GPUs: left as $wanted: no index is known to mean the same"
        return 0
        ;;
    esac
    indices+=",${matches# }"
  done
  export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=${indices#,}
  say "GPUs: $CUDA_VISIBLE_DEVICES, which are $wanted"
}
name_gpus_by_index

# ---- No server: the evaluator loads the model itself, vllm_engine --------------------------------

start_server() { mark ready; }
check_server() { :; }
server_answers() { :; }
save_metrics() { :; }

# ---- The tasks -----------------------------------------------------------------------------------

evaluate_1() { # demo_sums
  local PATH=/work-area/group/repo/environments/lm_eval/bin:$PATH
  local arguments='{"pretrained": "tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.5", "tensor_parallel_size": 1, "gpu_memory_utilization": 0.9}'
  start evaluator "$work_dir" "$log" \
    lm_eval --model vllm --model_args "$arguments" \
    --include_path /opt/hpcjobs/conf/lm_eval_tasks --tasks demo_sums \
    --system_instruction 'あなたは誠実で優秀な日本人のアシスタントです。' \
    --output_path "$attempt_dir/results"/demo/sums --log_samples
}

evaluate_2() { # ja_gpqa
  local PATH=/work-area/group/repo/environments/lighteval/bin:$PATH
  {
    printf 'model:\n  base_params:\n'
    printf '    model_args: %s\n' '"pretrained=tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.5,dtype=bfloat16,tensor_parallel_size=1,data_parallel_size=1,gpu_memory_utilization=0.9"'
    printf '  generation:\n'
    printf '    %s\n' 'temperature: 0.0'
  } >"$work_dir/model.yaml"
  LITELLM_LOG=WARNING start evaluator "$work_dir" "$log" \
    lighteval vllm model.yaml 'swallow|swallow_gpqa_ja|0|0' \
    --use-chat-template \
    --system-prompt 'あなたは誠実で優秀な日本人のアシスタントです。' \
    --output-dir "$attempt_dir/results"/ja/gpqa --save-details
}

evaluate_3() { # ja_mmlu
  local PATH=/work-area/group/repo/environments/lighteval/bin:$PATH
  {
    printf 'model:\n  base_params:\n'
    printf '    model_args: %s\n' '"pretrained=tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.5,dtype=bfloat16,tensor_parallel_size=1,data_parallel_size=1,gpu_memory_utilization=0.9"'
    printf '  generation:\n'
    printf '    %s\n' 'temperature: 0.0'
  } >"$work_dir/model.yaml"
  LITELLM_LOG=WARNING start evaluator "$work_dir" "$log" \
    lighteval vllm model.yaml 'swallow|swallow_jmmlu|0|0' \
    --use-chat-template \
    --system-prompt 'あなたは誠実で優秀な日本人のアシスタントです。' \
    --output-dir "$attempt_dir/results"/ja/mmlu --save-details
}

# Packed: they share a server; one that fails ends no other.

readonly at_once=1 # so many are evaluated at the same time
readonly names=('' demo_sums ja_gpqa ja_mmlu)
readonly places=('' demo/sums ja/gpqa ja/mmlu)
readonly needs=('' 600 1800 3600) # seconds, by the runtime table
waiting=(1 2 3) failed=0
declare -A running=() tries=() # by number: the evaluator's pid, and how often it was begun
interrupted=() not_begun=() slot=''

server_lives() {
  true
}

# What a task needs is looked for in a shell of its own: a failure there ends this task only.
rehearse() ( # FUNCTION: the first word of $work_dir/failure says what it lacks
  fail() {
    printf '%s' "$2" >"$work_dir/failure"
    say "failed, $2: $3"
    exit "$1"
  }
  start() {
    command -v -- "$4" >/dev/null || fail 91 command_not_found "no command '$4' on PATH ($PATH)"
    exit 0
  }
  "$1"
)

begin_task() { # NUMBER
  local key=${names[$1]} status=0
  if [ "${#tries[@]}" -gt 0 ] && [ "$((SECONDS + needs[$1]))" -gt 6000 ]; then
    mark "task.$key.not_begun" "$((deadline - SECONDS))"
    say "$key: not begun: it may need ${needs[$1]} s, and $((deadline - SECONDS)) s are left"
    not_begun+=("$key")
    return
  fi
  tries[$1]=$((${tries[$1]:-0} + 1))
  [ "${tries[$1]}" -eq 1 ] || mark "task.$key.again"
  work_dir=$attempt_dir/work/$key.${tries[$1]} # fresh: nothing of an earlier try is read again
  mkdir -p "$work_dir" || fail 90 no_directory "cannot create $work_dir"
  log=$attempt_dir/$key.log
  mark "task.$key.started"
  say "$key: started (try ${tries[$1]})"
  rehearse "evaluate_$1" 9>&- &
  wait "$!" || status=$?
  [ "$status" -eq 0 ] || pause # what ended it may have been sent to us, too
  if ! server_lives || { [ "$status" -ne 0 ] && ! server_answers; }; then
    interrupted+=("$1") # what it lacked may have been a server that was dying
  elif [ "$status" -ne 0 ]; then
    end_task "$1" "$status" "$(cat "$work_dir/failure" 2>/dev/null)"
  else
    save_metrics "$key" begin
    slot=$1
    "evaluate_$1"
    slot=''
    running[$1]=$started
    evaluator_pid=${running[*]}
  fi
}

end_task() { # NUMBER EXIT_CODE [WHY]
  local key=${names[$1]}
  [ -z "${3:-}" ] || mark "task.$key.failure" "$3"
  mark "task.$key.exit_code" "$2"
  say "$key: exit code $2"
  [ "$2" -eq 0 ] || failed=$2
}

stop_task() { # NUMBER: $status is the exit code of its evaluator
  local pid=${running[$1]}
  stop "evaluator$1" "$pid"
  status=0
  wait "$pid" || status=$?
  echo "ended $pid" >&9
  unset "running[$1]"
  evaluator_pid=${running[*]}
}

# Each task is tried twice at most, the second time after all others: it may be what kills the server.
try_again() { # NUMBER
  local key=${names[$1]} aside
  if [ "${tries[$1]}" -ge 2 ]; then
    end_task "$1" 99 server_died
    return
  fi
  aside=$attempt_dir/work/$key.${tries[$1]}
  [ ! -e "results/${places[$1]}" ] || mv "results/${places[$1]}" "$aside/results" ||
    fail 90 no_directory "cannot move what $key left"
  [ ! -e "$key.log" ] || mv "$key.log" "$aside/"
  mark "task.$key.interrupted"
  waiting+=("$1")
}

run_tasks() {
  local number status room ended
  while [ "$((${#waiting[@]} + ${#running[@]} + ${#interrupted[@]}))" -gt 0 ]; do
    room=$at_once # what may have killed the server is tried again alone: it takes no other with it
    [ "${#waiting[@]}" -eq 0 ] || [ "${tries[${waiting[0]}]:-0}" -eq 0 ] || room=1
    if [ "${#waiting[@]}" -gt 0 ] && [ "${#running[@]}" -lt "$room" ]; then
      number=${waiting[0]}
      waiting=("${waiting[@]:1}")
      begin_task "$number"
      continue
    fi
    ended=''
    for number in "${!running[@]}"; do
      alive "${running[$number]}" && continue
      ended=1
      stop_task "$number"
      if server_lives && server_answers; then
        save_metrics "${names[$number]}" end
        end_task "$number" "$status"
      else
        interrupted+=("$number")
      fi
    done
    check_deadline
    [ -n "$ended" ] || pause
  done
}

start_server
run_tasks
[ "$failed" -ne 0 ] || [ "${#not_begun[@]}" -eq 0 ] ||
  fail 95 no_time "no time was left to begin ${not_begun[*]}"
code=$failed
exit "$code"
