#!/bin/bash
#HPCJOBS --name x09dxk0-01_demo_sums_tiny-demo
#HPCJOBS --gpus 0
#HPCJOBS --cpu-slots 1
#HPCJOBS --output scheduler.out
#HPCJOBS --walltime 00:10:00
#HPCJOBS --grace 10
#
# hpcjobs x09dxk0-01: hpcjobs/tiny-demo on local/cpu
#   demo_sums: lm_eval demo_sums
# This script is complete: read it, or submit it by hand, once, with
#   mkdir -p /work-area/group/eval/jobs/x09dxk0/01
#   /opt/hpcjobs/environment/bin/python -m hpcjobs.local submit /work-area/group/eval/jobs/x09dxk0/01/job.sh
# What it writes lies in that directory: job.log, server.log, a log a task, results/, and markers
# (started, ready, task.*, signal, failure, exit_code) from which hpcjobs reads how it went.

# shellcheck disable=SC2016,SC2329 # names may hold `$`; traps and run_task call functions by name
set -u -o pipefail
umask 027

readonly attempt_dir=/work-area/group/eval/jobs/x09dxk0/01
readonly env_file=/work-area/group/eval/.env # keys are read from here, never written elsewhere
readonly deadline=600 # seconds; the walltime is 600
readonly stop_grace=5 # seconds between TERM and KILL
native_id=${HPCJOBS_LOCAL_ID:-}

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
    fail 95 deadline "not finished 0 s before the walltime"
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

# ---- The server: llamacpp -------------------------------------------------------------------------

readonly provider=llamacpp
readonly model=hpcjobs/tiny-demo
readonly start_timeout=1800
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

launch_server() {
  local PATH=/opt/hpcjobs/environment/bin:$PATH
  cat >"$attempt_dir/work/serve_llamacpp.py" <<'END_OF_PYTHON'
#!/usr/bin/env python3
"""Start llama.cpp's own HTTP server (OpenAI API) from the wheel ``xllamacpp``.

    LLAMA_API_KEY=... python serve_llamacpp.py --model FILE.gguf --port 8000 --alias NAME

The API key comes from the environment and never from the command line, which other users can see.
Exit status: 0 after SIGTERM or SIGINT, 1 when the server cannot start, 2 for a wrong call.  While
the model is still being loaded, such a signal ends the process at once, by that signal.
"""

import argparse
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn


def fail(message: str, status: int = 1) -> NoReturn:
    """Say why and end at once, whatever threads llama.cpp may have."""
    print(f"serve_llamacpp: {message}", file=sys.stderr, flush=True)
    os._exit(status)


def on_stop_signal(action: object) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, action)  # type: ignore[arg-type]


def check_address(host: str, port: int) -> None:
    """llama.cpp would only say that it cannot start; say what is wrong with the address."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            fail(f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a GGUF model with llama.cpp.")
    parser.add_argument("--model", required=True, type=Path, help="GGUF file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--alias", action="append", help="model name (may be repeated)")
    parser.add_argument("--context-length", type=int, default=0, help="per request; 0: the model's")
    parser.add_argument("--parallel", type=int, default=2, help="requests at the same time")
    parser.add_argument("--threads", type=int, default=0, help="0: all CPUs of this process")
    parser.add_argument("--gpu-layers", type=int, default=-1, help="-1: as many as fit")
    args = parser.parse_args()

    key = os.environ.pop("LLAMA_API_KEY", "").strip()
    if not key:
        fail("the environment variable LLAMA_API_KEY is not set", 2)
    if not args.model.is_file():
        fail(f"no such model file: {args.model}")
    try:
        import xllamacpp
    except ImportError as error:
        fail(f"cannot import xllamacpp ({error}); install it with: pip install xllamacpp")
    check_address(args.host, args.port)

    params = xllamacpp.CommonParams()
    params.model.path = str(args.model)
    params.hostnames = [args.host]
    params.port = args.port
    params.api_keys = [key]
    params.model_alias = set(args.alias or [args.model.stem])
    params.n_ctx = args.context_length * args.parallel  # llama.cpp shares it among the requests
    params.n_parallel = args.parallel
    params.cpuparams.n_threads = args.threads or len(os.sched_getaffinity(0))
    params.n_gpu_layers = args.gpu_layers
    params.ui = False
    on_stop_signal(signal.SIG_DFL)  # while it loads, no Python handler could run
    try:
        server = xllamacpp.Server(params)
    except Exception as error:
        fail(f"llama.cpp did not start with {args.model}: {error}")
    on_stop_signal(lambda *_: os._exit(0))
    print(f"serve_llamacpp: listening on {server.listening_address}", flush=True)
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()
END_OF_PYTHON
  LLAMA_API_KEY=$server_key start server "$attempt_dir/work" "$attempt_dir/server.log" \
    python3 serve_llamacpp.py --model /opt/hpcjobs/demo/tiny-demo.gguf \
    --alias "$model" --alias "$proof" \
    --host 127.0.0.1 --port "$port" \
    --gpu-layers 0
}

server_version() {
  local PATH=/opt/hpcjobs/environment/bin:$PATH
  python3 -c 'from importlib.metadata import version; print("xllamacpp", version("xllamacpp"))'
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

start_server() { # tries another port where somebody took ours
  local try status
  prepare_server
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
  local PATH=/opt/hpcjobs/environment/bin:$PATH
  local url="http://127.0.0.1:$port/v1"/chat/completions length=''
  local arguments='{"model": "hpcjobs/tiny-demo", "num_concurrent": 4, "base_url": "'"$url"'"'"$length"'}'
  OPENAI_API_KEY=$server_key start evaluator "$work_dir" "$log" \
    lm_eval --model local-chat-completions --model_args "$arguments" \
    --apply_chat_template \
    --include_path /opt/hpcjobs/conf/lm_eval_tasks --tasks demo_sums \
    --gen_kwargs '{"max_gen_toks": 16, "temperature": 0.0}' \
    --output_path "$attempt_dir/results"/demo/sums --log_samples
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
run_task demo_sums evaluate_1 || failed=$?
code=$failed
exit "$code"
