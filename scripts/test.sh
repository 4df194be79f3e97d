#!/usr/bin/env bash
# Sets up, builds and tests. Without an argument: everything CI asks for, in the release preset.
#
#   scripts/test.sh                the whole: format, scripts, symbols, unit, integration, crash
#   scripts/test.sh format|scripts|symbols|unit|integration|crash    one part of it
#   scripts/test.sh faults [--only N,N-M] [--write]    the faults of docs/faults.md, on PostgreSQL 10 to 18
#   scripts/test.sh compatibility [--write]            the README's table of PostgreSQL 10 to 18
#   scripts/test.sh asan|tsan      unit and integration tests under sanitizers
#   scripts/test.sh clang|tidy     builds with clang 16; with clang-tidy
# shellcheck disable=SC2317  # the parts are called by name, through step
set -euo pipefail
[[ ${1:-} == -h || ${1:-} == --help ]] && { sed -n '2,/^set /{/^# shellcheck/d;s/^# \?//p}' "$0"; exit; }

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export FRESHET_DEPS=${FRESHET_DEPS:-$PWD/.deps}
preset=release
summary=()
failed=0

# step NAME COMMAND...: runs it, notes result and duration, goes on.
step() {
  local name=$1 begin=$SECONDS result=ok
  shift
  printf '\n=== %s\n' "$name"
  "$@" || result=FAILED
  [[ $result == ok ]] || failed=1
  summary+=("$(printf '%-12s %-6s %4d s' "$name" "$result" $((SECONDS - begin)))")
}

build() {
  scripts/build.sh "$preset"
}

ctest_label() {
  ctest --test-dir "build/$preset" --label-regex "^$1\$" --output-on-failure --no-tests=error \
    --parallel "${2:-$(nproc)}" --timeout 900
}

unit() { ctest_label unit; }
integration() { ctest_label integration 1; }
format() { scripts/format.sh --check; }
symbols() { scripts/check_symbols.sh "build/$preset/freshet"; }
crash() { scripts/chaos.sh 50; }

# Fetches the majors that the cases need beside Debian's 15.
faults() {
  scripts/postgres_major.sh 10 18
  /usr/bin/python3 test/faults/run.py "build/$preset" "$@"
}

compatibility() {
  scripts/postgres_major.sh 10 11 12 13 14 16 17 18
  /usr/bin/python3 test/faults/compatibility.py "build/$preset" "$@"
}

scripts() {
  git ls-files -z '*.py' | xargs -0 /usr/bin/python3 -c \
    'import ast, sys; [ast.parse(open(name).read(), name) for name in sys.argv[1:]]' || return
  /usr/bin/python3 test/faults/run.py || return
  if command -v shellcheck >/dev/null; then
    shellcheck scripts/*.sh .ci/run
  else
    bash -n scripts/*.sh
  fi
}

case ${1:-all} in
  all)
    step build build
    if ((!failed)); then
      for part in format scripts symbols unit integration crash; do step $part $part; done
    fi
    ;;
  unit | integration | crash | symbols)
    step build build
    ((failed)) || step "$1" "$1"
    ;;
  faults | compatibility)
    step build build
    ((failed)) || step "$1" "$1" "${@:2}"
    ;;
  format | scripts) step "$1" "$1" ;;
  asan | tsan)
    preset=$1
    suppressions=$PWD/test/sanitizers
    export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
    export LSAN_OPTIONS=suppressions=$suppressions/lsan.txt:print_suppressions=0
    export UBSAN_OPTIONS=print_stacktrace=1
    # The bundled libraries are not instrumented: without the flag each lock inside them is invisible.
    # At a fork DuckDB's allocator takes more locks than the detector of deadlocks can count.
    export TSAN_OPTIONS=ignore_noninstrumented_modules=1:detect_deadlocks=0:suppressions=$suppressions/tsan.txt
    step build build
    if ((!failed)); then
      step unit unit
      step integration integration
    fi
    ;;
  clang | tidy)
    preset=$1
    step build build
    ;;
  *)
    echo "test: no part '$1'; see scripts/test.sh --help" >&2
    exit 2
    ;;
esac

printf '\n=== summary (%s, %s s)\n' "$preset" "$SECONDS"
printf '%s\n' "${summary[@]}"
((failed)) && echo FAILED || echo PASSED
exit "$failed"
