# shellcheck shell=bash
# Sourced by the testbeds: installs Debian packages, and starts nothing of what they bring.
# One at a time on this machine: testbeds start side by side, and apt waits for nobody's lists.

install_packages() { # PACKAGE...: those that are missing
  local package missing=() log
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
      missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  printf 'installing %s\n' "${missing[*]}" >&2
  log=$(mktemp)
  if ! (
    flock -w 900 8 || exit 1
    apt_without_services "${missing[@]}"
  ) 8>/var/lock/hpcjobs-testbeds-packages.lock >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    printf 'error: apt-get failed; its whole output is in %s\n' "$log" >&2
    return 1
  fi
  rm -f "$log"
}

apt_without_services() {
  local policy=/usr/sbin/policy-rc.d made='' status=0
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made=1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q update &&
    apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \
      install --no-install-recommends "$@" || status=$?
  [ -z "$made" ] || rm -f "$policy"
  return "$status"
}
