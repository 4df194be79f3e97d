#!/usr/bin/env bash
# Builds one CMake preset into build/PRESET; the program of the default one is build/release/freshet.
#
#   scripts/build.sh [PRESET]      release (default), dev, asan, tsan, clang, tidy, fuzz
set -euo pipefail
[[ ${1:-} == -h || ${1:-} == --help ]] && { sed -n '2,/^set /{/^# shellcheck/d;s/^# \?//p}' "$0"; exit; }

cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset=${1:-release}
case $preset in
  clang | tidy | fuzz) scripts/bootstrap.sh --dev ;;
  *) scripts/bootstrap.sh ;;
esac
cmake --preset "$preset" -DFRESHET_DEPS="${FRESHET_DEPS:-$PWD/.deps}"
cmake --build --preset "$preset"
