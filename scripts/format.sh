#!/usr/bin/env bash
# Formats every C++ file of the repository with clang-format 16.
#
#   scripts/format.sh [--check]      --check only names the files that are not formatted, and fails
set -euo pipefail
[[ ${1:-} == -h || ${1:-} == --help ]] && { sed -n '2,/^set /{/^# shellcheck/d;s/^# \?//p}' "$0"; exit; }

cd "$(dirname "${BASH_SOURCE[0]}")/.."
how=(-i)
[[ ${1:-} == --check ]] && how=(--dry-run --Werror)
git ls-files -z --cached --others --exclude-standard '*.cc' '*.h' |
  xargs -0 --no-run-if-empty -P "$(nproc)" -n 16 clang-format-16 "${how[@]}"
