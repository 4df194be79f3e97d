#!/usr/bin/env bash
# Builds the release preset, then kills freshet (and its server) N times and compares after each.
#
#   scripts/chaos.sh [N] [--seed S] [--postgres MAJOR]      N defaults to 50
#
# Ends with a verdict and the seed. After a failure the evidence folder stays.
set -euo pipefail
[[ ${1:-} == -h || ${1:-} == --help ]] && { sed -n '2,/^set /{/^# shellcheck/d;s/^# \?//p}' "$0"; exit; }

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export FRESHET_DEPS=${FRESHET_DEPS:-$PWD/.deps}
scripts/build.sh release >&2
exec /usr/bin/python3 test/crash/chaos.py "$@"
