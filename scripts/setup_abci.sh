#!/usr/bin/env bash
# Prepares an account on ABCI 3.0 (AIST), from a login node. See --help, docs/abci.md.
# shellcheck disable=SC2034 # these are for setup_common.sh
set -euo pipefail

site=abci service=abci
group_variable=ABCI_GROUP
disk_root=/groups
group_is_unix=''
quota_command='show_quota'

check_home() { :; } # 2 TiB

# shellcheck source=scripts/setup_common.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup_common.sh"
setup "$@"
