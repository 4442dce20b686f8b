#!/usr/bin/env bash
# Prepares an account on TSUBAME4.0 (Institute of Science Tokyo), from a login node. See --help, docs/tsubame.md.
# shellcheck disable=SC2034 # these are for setup_common.sh
set -euo pipefail

site=tsubame service=tsubame
group_variable=TSUBAME_GROUP
disk_root=/gs/bs
group_is_unix=yes
quota_command='t4-user-info disk home; t4-user-info disk group'

check_home() { # uv's cache needs room there for a while, and the home has 25 GiB
  local free
  command -v t4-user-info >/dev/null || return 0
  free=$(t4-user-info disk home | awk 'NF == 6 && $1 ~ /^[0-9]+$/ { print int($4 - $3) }') || free=''
  if [ -n "$free" ] && [ "$free" -lt 12 ]; then
    stop "only $free GiB are left in your home; 12 are needed while packages are installed"
  fi
}

# shellcheck source=scripts/setup_common.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup_common.sh"
setup "$@"
