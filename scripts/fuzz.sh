#!/usr/bin/env bash
# Runs every fuzz target on its seed corpus, some seconds each. Findings go to build/fuzz/findings.
#
#   scripts/fuzz.sh [SECONDS]      default 60; 0 only replays the corpus
set -euo pipefail
[[ ${1:-} == -h || ${1:-} == --help ]] && { sed -n '2,/^set /{/^# shellcheck/d;s/^# \?//p}' "$0"; exit; }

cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60}
scripts/build.sh fuzz
shopt -s nullglob
targets=(build/fuzz/fuzz/*_fuzz)
((${#targets[@]})) || { echo "fuzz: no target was built" >&2; exit 1; }
for target in "${targets[@]}"; do
  name=$(basename "$target" _fuzz)
  seeds=fuzz/corpus/$name
  grown=build/fuzz/corpus/$name
  mkdir -p "$grown" build/fuzz/findings
  limit=(-max_total_time="$seconds")
  ((seconds)) || limit=(-runs=0)
  echo "fuzz: $name, ${seconds} s"
  "$target" "${limit[@]}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/findings/$name-" "$grown" "$seeds"
done
echo "fuzz: ${#targets[@]} targets, nothing found"
