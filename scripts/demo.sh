#!/usr/bin/env bash
# Sets up and builds what is not there yet, then shows freshet at work: `freshet demo ARGUMENTS`.
#
#   scripts/demo.sh [up|down] [--seconds N] [--output json] [--s3 URL]
set -euo pipefail
[[ ${1:-} == -h || ${1:-} == --help ]] && { sed -n '2,/^set /{/^# shellcheck/d;s/^# \?//p}' "$0"; exit; }

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export FRESHET_DEPS=${FRESHET_DEPS:-$PWD/.deps}
scripts/build.sh release >&2
exec build/release/freshet demo "$@"
