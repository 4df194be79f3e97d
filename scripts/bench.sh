#!/usr/bin/env bash
# Builds the release preset and measures: rows/s against the walsender's limit, CPU, memory, latency.
#
#   scripts/bench.sh CASE...|all [--output json] [--rows N] [--rounds N]
#
# Cases: log parquet duckdb_append duckdb_upsert_insert duckdb_upsert_mix catch-up latency
# snapshot_parquet snapshot_duckdb giant tables idle parser log_append.
# Figures and machine: docs/benchmarks.md. Quiet the machine first; `all` takes some 15 minutes.
set -euo pipefail
[[ ${1:-} == -h || ${1:-} == --help || $# == 0 ]] && { sed -n '2,/^set /{/^# shellcheck/d;s/^# \?//p}' "$0"; exit; }

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export FRESHET_DEPS=${FRESHET_DEPS:-$PWD/.deps}
scripts/build.sh release >&2
exec /usr/bin/python3 bench/bench.py "$@"
