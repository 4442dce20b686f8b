#!/usr/bin/env bash
# From a clean clone to a score: installs hpcjobs, evaluates a small model for real on this machine
# (llama.cpp's server, lm-evaluation-harness, no GPU, no network once installed), shows the numbers.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/environment.sh
. "$repository/scripts/environment.sh"

for tool in bash setsid grep od timeout; do
  if ! command -v "$tool" >/dev/null; then
    complain "no $tool; on Debian: apt-get install bash util-linux grep coreutils"
    exit 1
  fi
done
environment=${HPCJOBS_QUICKSTART_ENVIRONMENT:-$repository/.venv}
make_environment "$environment" "$repository" --editable '.[demo]'
hpcjobs=$environment/bin/hpcjobs

# A workspace and a queue of its own: nothing of yours is touched, nothing is left running.
mkdir -p "$repository/.quickstart"
workspace=$(mktemp -d "$repository/.quickstart/$(date +%Y-%m-%dT%H-%M-%S).XXX")
HPCJOBS_LOCAL_DIR=$(mktemp -d "${TMPDIR:-/tmp}/hpcjobs-quickstart.XXXXXX")
export HPCJOBS_LOCAL_DIR HPCJOBS_WORKSPACE=$workspace
tidy_up() {
  "$environment/bin/python" -m hpcjobs.local shutdown --kill-jobs || true
  rm -rf "$HPCJOBS_LOCAL_DIR"
}
trap tidy_up EXIT

submit=("$hpcjobs" submit --service local --node cpu --provider llamacpp
  --model hpcjobs/tiny-demo --settings demo --tasks demo --yes --wait)
printf '\n$ hpcjobs %s\n' "${submit[*]:1}"
"${submit[@]}"
printf '\n$ hpcjobs aggregate\n'
"$hpcjobs" aggregate
