#!/bin/bash
#$ -S /bin/bash
#$ -N g2ttw3g-01_3tasks_Llama-3.1-Swallow-8B-Instruct-v0.5
#$ -l node_q=1
#$ -l h_rt=01:40:00
#$ -wd /work-area/group/eval/jobs/g2ttw3g/01
#$ -o /work-area/group/eval/jobs/g2ttw3g/01/scheduler.out
#$ -j y
#$ -r n
#$ -p -5
#
# hpcjobs g2ttw3g-01: tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.5 on tsubame/node_q
#   demo_sums: lm_eval demo_sums
#   ja_gpqa: lighteval swallow_gpqa_ja
#   ja_mmlu: lighteval swallow_jmmlu
# This script is complete: read it, or submit it by hand, once, with
#   mkdir -p /work-area/group/eval/jobs/g2ttw3g/01
#   qsub -terse -g tga-example /work-area/group/eval/jobs/g2ttw3g/01/job.sh
# What it writes lies in that directory: job.log, server.log, a log a task, results/, and markers
# (started, ready, task.*, signal, failure, exit_code) from which hpcjobs reads how it went.

# shellcheck disable=SC2016,SC2329 # names may hold `$`; traps and run_task call functions by name
set -u -o pipefail
umask 027

readonly attempt_dir=/work-area/group/eval/jobs/g2ttw3g/01
readonly env_file=/work-area/group/eval/.env # keys are read from here, never written elsewhere
readonly deadline=5880 # seconds; the walltime is 6000
readonly stop_grace=10 # seconds between TERM and KILL
native_id=${JOB_ID:-}

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
    fail 95 deadline "not finished 120 s before the walltime"
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
# T4TMPDIR is the node's own disk, emptied at the end; /tmp is not to be used.
[ -z "${T4TMPDIR:-}" ] || export TMPDIR=$T4TMPDIR
# shellcheck source=/dev/null
. /etc/profile.d/modules.sh
module purge
module load cuda/12.8.0
set -u
{ set +x; } 2>/dev/null # from here on there are keys in variables, which a trace would show
export HF_HOME=/work-area/group/cache/huggingface
export VLLM_CACHE_ROOT=/work-area/group/cache/vllm
export UV_CACHE_DIR=/work-area/group/cache/uv
export UV_LINK_MODE=copy
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

# ---- The server: vllm -----------------------------------------------------------------------------

readonly provider=vllm
readonly model=tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.5
readonly start_timeout=3600
server_key=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n') # without it the server must not answer
proof=hpcjobs-$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n') # a model name that only we know
port=
no_proxy=${no_proxy:-${NO_PROXY:-}} # a site's proxy cannot reach our server
export no_proxy=127.0.0.1,localhost${no_proxy:+,$no_proxy}
export NO_PROXY=$no_proxy

# Some servers have their own of these:
prepare_server() { :; }
server_answers() { :; }
save_metrics() { :; }

weights=tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.5

look_at_model() { # what is known of it without loading it; see the program
  local PATH=/work-area/group/repo/environments/vllm/bin:$PATH
  cat >"$attempt_dir/work/look_at_model.py" <<'END_OF_PYTHON'
#!/usr/bin/env python3
"""What must be known of a model before vLLM spends minutes on it; one `WORD VALUE` a line.

    python3 look_at_model.py WEIGHTS [PARSER]

thinks yes|no    whether its tokenizer has think tags
length N         the longest text that its configuration allows
path DIRECTORY   where it lies on this machine's disks
parser yes|no    whether the vLLM that is installed here has this reasoning parser
parsers NAMES    all that it has
What cannot be found out is left out: vLLM itself will then tell. Ends with 0.
"""

import json
import os
import sys
from pathlib import Path

TAGS = (b"</think>", b"[/THINK]", b"</seed:think>", "◁/think▷".encode())
TOKENIZER = ("tokenizer_config.json", "tokenizer.json", "added_tokens.json")
TEMPLATES = ("chat_template.jinja", "chat_template.json", "tekken.json")


def directory_of(weights):
    """The directory of the model: given, or a snapshot in the hub's cache."""
    if Path(weights).is_dir():
        return Path(weights)
    home = os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub"))
    cached = cache / f"models--{weights.replace('/', '--')}"
    try:
        snapshot = cached / "snapshots" / (cached / "refs" / "main").read_text().strip()
    except OSError:
        return None
    return snapshot if (snapshot / "config.json").exists() else None


def download(weights):
    """The small files only, as vLLM would do first."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return None
    try:
        from huggingface_hub import snapshot_download

        wanted = [*TOKENIZER, *TEMPLATES, "config.json"]
        return Path(snapshot_download(weights, allow_patterns=wanted))
    except Exception as error:
        print(f"look_at_model: {type(error).__name__}: {error}", file=sys.stderr)
        return None


def thinks(directory):
    found = [directory / name for name in (*TOKENIZER, *TEMPLATES) if (directory / name).is_file()]
    if not any(path.name in (*TOKENIZER, "tekken.json") for path in found):
        return None
    return any(tag in path.read_bytes() for path in found for tag in TAGS)


def longest(directory):
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        config = {**config, **config.get("text_config", {})}
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        if isinstance(config.get(name), int):
            scaling = config.get("rope_scaling") or {}
            factor = scaling.get("factor", 1) if isinstance(scaling, dict) else 1
            kind = scaling.get("rope_type", scaling.get("type")) if factor != 1 else None
            return int(config[name] * (1 if kind in (None, "llama3", "longrope", "su") else factor))
    return None


def parsers():
    """The reasoning parsers of the installed vLLM."""
    try:
        from vllm.reasoning import ReasoningParserManager as Manager
    except Exception as error:
        print(f"look_at_model: {type(error).__name__}: {error}", file=sys.stderr)
        return None
    if hasattr(Manager, "list_registered"):
        return sorted(Manager.list_registered())
    return sorted(getattr(Manager, "reasoning_parsers", {})) or None


def main(weights, parser=""):
    directory = directory_of(weights) or download(weights)
    if directory is not None:
        facts = {"path": directory.resolve(), "length": longest(directory)}
        thinking = thinks(directory)
        facts["thinks"] = None if thinking is None else "yes" if thinking else "no"
        for word, value in facts.items():
            if value is not None:
                print(word, value)
    known = parsers() if parser else None
    if known is not None:
        print("parser", "yes" if parser in known else "no")
        print("parsers", " ".join(known))


if __name__ == "__main__":
    main(*sys.argv[1:])
END_OF_PYTHON
  (
    cd "$attempt_dir/work" || exit 90
    unset OPENAI_API_KEY DEEPINFRA_API_KEY
    exec timeout 300 python3 look_at_model.py "$weights" 9>&-
  ) >"$attempt_dir/work/.model" 2>>"$attempt_dir/server.log" &
  wait "$!" || say 'the model could not be looked at; see server.log'
}

fact() { # WORD: what was found
  sed -n "s/^$1 //p" "$attempt_dir/work/.model"
}

prepare_server() {
  look_at_model
  [ "$(fact thinks)" != yes ] || fail 89 no_reasoning_parser \
    "its tokenizer has think tags: name a reasoning_parser in its settings (or: ignore)"
}

launch_server() {
  local PATH=/work-area/group/repo/environments/vllm/bin:$PATH
  VLLM_API_KEY=$server_key start server "$attempt_dir/work" "$attempt_dir/server.log" \
    vllm serve "$weights" \
    --served-model-name "$model" "$proof" \
    --host 127.0.0.1 --port "$port" \
    --tensor-parallel-size 1 \
    --gpu-memory-utilization 0.9 --dtype bfloat16
}

server_version() {
  ask_server GET /version "$server_key"
  printf 'vllm %s' "$(sed -n 's/^{"version": *"\([^"]*\)".*/\1/p' <<<"$answer")"
}

server_answers() { # whether it still can: vLLM lives on for seconds after its engine has died
  local answer _
  for _ in 1 2 3; do
    ask_server GET /health "$server_key"
    case $answer in
      'HTTP/1.'?' 5'*) return 1 ;;
      'HTTP/1.'*) return 0 ;;
    esac
    pause
  done
  return 1
}

save_metrics() { # KEY begin|end: how the answers so far have ended; the last line may be cut off
  local answer path=$attempt_dir/metrics/$1.$2.prom
  ask_server GET /metrics "$server_key"
  mkdir -p "$attempt_dir/metrics" &&
    sed -n '$!{/^vllm:request_success_total{/p;}' <<<"$answer" >"$path.tmp" && mv "$path.tmp" "$path"
}

port_in_use() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

choose_port() {
  local _
  for _ in {1..50}; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    port_in_use "$port" || return 0
  done
  fail 92 no_port 'found no free port'
}

ask_server() { # METHOD PATH KEY: $answer is what answers at our port, status line first
  (
    exec 3<>"/dev/tcp/127.0.0.1/$port" 9>&- || exit 1
    printf '%s %s HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n' "$@" >&3
    printf 'Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}' >&3
    exec timeout 10 cat <&3
  ) >"$attempt_dir/work/.answer" 2>/dev/null &
  wait "$!"
  answer=$(tr -d '\0' <"$attempt_dir/work/.answer")
}

# 0: our own server is ready. Else: 96 it ended, 97 it took too long, 98 somebody else's answers.
wait_for_server() {
  local answer end=$((SECONDS + start_timeout))
  while alive "$server_pid"; do
    ask_server GET /v1/models "$server_key"
    case $answer in
      'HTTP/1.'?' 200'*"\"$proof\""*)
        ask_server POST /v1/chat/completions "not-$server_key"
        case $answer in
          'HTTP/1.'?' 40'[13]*) alive "$server_pid" && return 0 ;;
          'HTTP/1.'*) fail 98 server_unprotected "a wrong key is answered ${answer%%$'\r'*}" ;;
        esac
        ;;
      'HTTP/1.'?' 200'*) return 98 ;;
    esac
    [ "$SECONDS" -lt "$end" ] || return 97
    check_deadline
    pause
  done
  return 96
}

prepared=''
start_server() { # tries another port where somebody took ours
  local try status
  [ -n "$prepared" ] || prepare_server # once, however often it is started
  prepared=1
  for try in 1 2 3; do
    choose_port
    say "starting $provider on port $port (try $try)"
    launch_server
    server_pid=$started
    status=0
    wait_for_server || status=$?
    [ "$status" -ne 0 ] || break
    stop server "$server_pid"
    echo "ended $server_pid" >&9
    server_pid=''
    case $status in
      96) port_in_use "$port" || grep -qiE 'address (already )?in use|errno 98' server.log || break ;;
      97) break ;;
    esac
    say "port $port belongs to another process"
  done
  case $status in
    0)
      mark ready "$port"
      mark server_version "$(server_version)"
      say "$provider is ready after $SECONDS s"
      ;;
    96) fail 96 server_ended 'the server ended while it started; see server.log' ;;
    97) fail 97 server_not_ready "the server was not ready within $start_timeout s; see server.log" ;;
    *) fail 98 server_not_ours 'another server answers at our port' ;;
  esac
}

check_server() {
  alive "$server_pid" || fail 99 server_died 'the server died; see server.log'
}

# ---- The tasks -----------------------------------------------------------------------------------

evaluate_1() { # demo_sums
  local PATH=/work-area/group/repo/environments/lm_eval/bin:$PATH
  local url="http://127.0.0.1:$port/v1"/chat/completions length=''
  local arguments='{"model": "tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.5", "num_concurrent": 4, "base_url": "'"$url"'"'"$length"'}'
  OPENAI_API_KEY=$server_key start evaluator "$work_dir" "$log" \
    lm_eval --model local-chat-completions --model_args "$arguments" \
    --apply_chat_template \
    --include_path /opt/hpcjobs/conf/lm_eval_tasks --tasks demo_sums \
    --system_instruction 'あなたは誠実で優秀な日本人のアシスタントです。' \
    --output_path "$attempt_dir/results"/demo/sums --log_samples
}

evaluate_2() { # ja_gpqa
  local PATH=/work-area/group/repo/environments/lighteval/bin:$PATH
  {
    printf 'model:\n  base_params:\n'
    printf '    model_name: %s\n' '"hosted_vllm/tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.5"'
    printf '    base_url: "%s"\n' "http://127.0.0.1:$port/v1"
    printf '  generation:\n'
    printf '    %s\n' 'temperature: 0.0'
  } >"$work_dir/model.yaml"
  local -x HOSTED_VLLM_API_KEY=$server_key
  LITELLM_LOG=WARNING start evaluator "$work_dir" "$log" \
    lighteval endpoint litellm model.yaml 'swallow|swallow_gpqa_ja|0|0' \
    --use-chat-template \
    --system-prompt 'あなたは誠実で優秀な日本人のアシスタントです。' \
    --output-dir "$attempt_dir/results"/ja/gpqa --save-details
}

evaluate_3() { # ja_mmlu
  local PATH=/work-area/group/repo/environments/lighteval/bin:$PATH
  {
    printf 'model:\n  base_params:\n'
    printf '    model_name: %s\n' '"hosted_vllm/tokyotech-llm/Llama-3.1-Swallow-8B-Instruct-v0.5"'
    printf '    base_url: "%s"\n' "http://127.0.0.1:$port/v1"
    printf '  generation:\n'
    printf '    %s\n' 'temperature: 0.0'
  } >"$work_dir/model.yaml"
  local -x HOSTED_VLLM_API_KEY=$server_key
  LITELLM_LOG=WARNING start evaluator "$work_dir" "$log" \
    lighteval endpoint litellm model.yaml 'swallow|swallow_jmmlu|0|0' \
    --use-chat-template \
    --system-prompt 'あなたは誠実で優秀な日本人のアシスタントです。' \
    --output-dir "$attempt_dir/results"/ja/mmlu --save-details
}

# Packed: they share a server; one that fails ends no other.

readonly at_once=2 # so many are evaluated at the same time
readonly names=('' demo_sums ja_gpqa ja_mmlu)
readonly places=('' demo/sums ja/gpqa ja/mmlu)
readonly needs=('' 600 1800 3600) # seconds, by the runtime table
waiting=(1 2 3) failed=0
declare -A running=() tries=() # by number: the evaluator's pid, and how often it was begun
interrupted=() not_begun=() slot=''

server_lives() {
  alive "$server_pid"
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

readonly most_restarts=2
restarts=0
replace_server() { # what was asked of the dead one does not count
  local number status
  say 'the server died; see server.log'
  for number in "${!running[@]}"; do
    stop_task "$number"
    interrupted+=("$number")
  done
  for number in "${interrupted[@]}"; do
    try_again "$number"
  done
  interrupted=()
  [ "${#waiting[@]}" -gt 0 ] || return 0
  [ "$restarts" -lt "$most_restarts" ] || fail 99 server_died 'the server died too often'
  restarts=$((restarts + 1))
  mark "server_died.$restarts"
  stop server "$server_pid"
  echo "ended $server_pid" >&9
  server_pid=''
  mv server.log "server.$restarts.log"
  start_server
}

run_tasks() {
  local number status room ended
  while [ "$((${#waiting[@]} + ${#running[@]} + ${#interrupted[@]}))" -gt 0 ]; do
    if [ "${#interrupted[@]}" -gt 0 ] || ! server_lives; then
      replace_server
    fi
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
