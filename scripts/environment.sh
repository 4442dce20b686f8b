# shellcheck shell=bash
# Sourced by the other scripts: makes a Python environment, or says what is missing.

complain() { printf 'error: %s\n' "$*" >&2; }

find_python() { # prints a Python of 3.10 or newer
  local name
  for name in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3.10; do
    if command -v "$name" >/dev/null &&
      "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      command -v "$name"
      return 0
    fi
  done
  complain 'no Python of 3.10 or newer; on Debian: apt-get install python3 (or set PYTHON=...)'
  return 1
}

# A venv, also where Debian's python3-venv is not installed but pip is.
create_environment() { # DIRECTORY
  local python
  python=$(find_python) || return 1
  if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    "$python" -m venv "$1"
    return
  fi
  if ! "$python" -m pip --version >/dev/null 2>&1; then
    complain "$python has neither venv nor pip; on Debian: apt-get install python3-venv"
    return 1
  fi
  "$python" -m pip install --quiet --target "$1.virtualenv" virtualenv &&
    PYTHONPATH=$1.virtualenv "$python" -m virtualenv --quiet "$1"
}

# make_environment DIRECTORY REPOSITORY PIP_ARGUMENT...: does nothing where that was done before.
make_environment() {
  local directory=$1 repository=$2 log wanted
  shift 2
  log=$directory/install.log
  wanted=$(printf '%s\n' "$repository" "$@" | cat - "$repository/pyproject.toml" | sha256sum)
  if [ "$(cat "$directory/installed" 2>/dev/null)" = "$wanted" ]; then
    return 0
  fi
  printf 'installing into %s (the first time takes a minute)\n' "$directory"
  if [ ! -x "$directory/bin/python" ]; then
    create_environment "$directory" || return 1
  fi
  # pip before 25.1 does not know dependency groups.
  if ! {
    "$directory/bin/python" -m pip install --upgrade 'pip>=25.1' &&
      (cd "$repository" && "$directory/bin/python" -m pip install "$@")
  } >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    complain "the installation failed; its whole output is in $log"
    return 1
  fi
  printf '%s\n' "$wanted" >"$directory/installed"
}
