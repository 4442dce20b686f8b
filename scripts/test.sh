#!/usr/bin/env bash
# Installs what the tests need and runs them all: linters, types, unit tests, and the real ones.
# usage: scripts/test.sh [PYTEST ARGUMENT]...      (with arguments: only pytest, with these)
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$repository"
# shellcheck source=scripts/environment.sh
. scripts/environment.sh

environment=${HPCJOBS_TEST_ENVIRONMENT:-$repository/.venv-test}
make_environment "$environment" "$repository" --editable '.[demo,details,predownload,tables]' --group dev
export PATH=$environment/bin:$PATH

if [ "$#" -gt 0 ]; then
  exec timeout 1400 python -m pytest "$@"
fi
step() { printf '\n== %s\n' "$*"; "$@"; }
step ruff check .
step ruff format --check .
step mypy --strict hpcjobs
step shellcheck scripts/*.sh scripts/testbeds/*.sh .ci/run
# One worker a file: some share a scheduler. (xdist's groups have no effect with pytest 9.2.)
step timeout 1400 python -m pytest -n 2 --dist loadfile --durations=10 -q
