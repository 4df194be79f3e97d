#!/usr/bin/env bash
# Asserts that the bundled libraries and Debian's do not answer each other's calls.
#
#   scripts/check_symbols.sh PROGRAM
#
# Loads PROGRAM with every bundled library in front of Debian's libpq, libssl and libcurl (the worst
# order) and has the dynamic linker report each binding. Why it matters: scripts/hide_symbols.py.
set -euo pipefail
[[ ${1:-} == -h || ${1:-} == --help || $# != 1 ]] && { sed -n '2,/^set /{/^# shellcheck/d;s/^# \?//p}' "$0"; exit; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deps=${FRESHET_DEPS:-$root/.deps}
preload=("$deps"/arrow/lib/*.so* "$deps"/duckdb/lib/*.so libpq.so.5 libssl.so.3 libcurl.so.4)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

LD_LIBRARY_PATH=$deps/arrow/lib LD_PRELOAD="${preload[*]}" LD_BIND_NOW=1 LD_DEBUG=bindings \
  LD_DEBUG_OUTPUT="$work/bindings" "$1" --help >/dev/null

# A line: "  PID: binding file USER [0] to OWNER [0]: normal symbol `NAME' [VERSION]"
cat "$work"/bindings.* | awk -v deps="$deps/" -v program="$1" '
  function base(path) { sub(/.*\//, "", path); return path }
  function bundled(path) { return base(path) ~ /^lib(arrow|arrow_s3|parquet|duckdb)\.so/ }
  function ours(path) { return path == program }
  # the C and C++ run time, which everything shares
  function shared(path) {
    return base(path) ~ /^(lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|asan|ubsan|tsan)\.so|ld-linux)/
  }
  $2 == "binding" && $3 == "file" {
    ++count
    user = $4; owner = $7
    if (bundled(owner)) ++into
    if (bundled(user) == bundled(owner) || ours(user) || ours(owner) || shared(owner)) next
    # C++ inline functions and template instances are emitted by every user, one serves all; the
    # run time asks the same of all libraries. Anything else is a clash.
    if (shared(user)) next
    if (++clashes <= 20) print "check_symbols: " base(user) " is answered by " base(owner) ": " $0
  }
  END {
    if (into == 0) { print "check_symbols: no binding into a bundled library: nothing was checked"; exit 1 }
    if (clashes) { print "check_symbols: " clashes " clashes"; exit 1 }
    print "check_symbols: " count " bindings, no clash"
  }'
