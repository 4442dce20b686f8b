#!/usr/bin/env bash
# A real browser for the tests of `hpcjobs report`: Debian's chromium and its driver, by apt.
# Needs Debian 12 (or like it) and root. The tests start it themselves, headless, with a new profile
# each, and end it.
#
#   scripts/testbeds/chromium.sh up      installs what is missing
#   scripts/testbeds/chromium.sh status  says what there is; its exit status is 0 if all is
#
# What remains afterwards: the packages.
set -euo pipefail
export LC_ALL=C
# shellcheck source=/dev/null
. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

readonly packages=(chromium chromium-driver fonts-dejavu-core fonts-noto-cjk)

say() { printf '%s\n' "$*" >&2; }

missing() { # prints the packages that are not installed
  local package
  for package in "${packages[@]}"; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null |
      grep -q 'ok installed$' || printf '%s\n' "$package"
  done
}

case ${1:-} in
  up)
    install_packages "${packages[@]}"
    ;;
  status)
    mapfile -t wanted < <(missing)
    if [ "${#wanted[@]}" -gt 0 ]; then
      say "not installed: ${wanted[*]}"
      exit 1
    fi
    ;;
  *)
    say "usage: ${0##*/} up|status"
    exit 2
    ;;
esac
chromedriver --version
