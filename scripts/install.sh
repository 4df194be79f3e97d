#!/usr/bin/env bash
# Makes a folder that runs on any Debian 12 (x86_64) without compiler or Python, wherever it is moved:
# PREFIX/bin/freshet, PREFIX/lib with every library beyond the C and C++ run time, their licences.
# It needs /proc there, as any system has; Debian's package ca-certificates for S3 over https; and
# `freshet demo` needs a PostgreSQL.
#
#   scripts/install.sh PREFIX
set -euo pipefail
[[ ${1:-} == -h || ${1:-} == --help || $# != 1 ]] && { sed -n '2,/^set /{/^# shellcheck/d;s/^# \?//p}' "$0"; exit; }

mkdir -p "$1"
prefix=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
deps=${FRESHET_DEPS:-$PWD/.deps}
# What every Debian 12 has: glibc and the run time of g++.
base='^(linux-vdso|ld-linux-x86-64|lib(c|m|dl|rt|pthread|resolv|stdc\+\+|gcc_s))\.so'

scripts/build.sh release
cmake --install build/release --prefix "$prefix" --strip

mkdir -p "$prefix/lib" "$prefix/share/licenses"
# ldd lists the libraries of the libraries, too.
ldd build/release/freshet | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }' |
  while read -r name path; do
    [[ $name =~ $base ]] && continue
    install -m 644 "$path" "$prefix/lib/$name"
    # Each library finds its neighbours; the search path of the program does not reach that far.
    # shellcheck disable=SC2016  # the dynamic linker expands it
    patchelf --set-rpath '$ORIGIN' "$prefix/lib/$name"
    package=$(dpkg-query -S "$(realpath "$path")" "$path" 2>/dev/null | head -n 1 | cut -d: -f1) || true
    if [[ -n $package ]]; then
      install -m 644 "/usr/share/doc/$package/copyright" "$prefix/share/licenses/$package"
    fi
  done
for package in libcli11-dev libexpected-dev libpg-query-dev nlohmann-json3-dev; do
  install -m 644 "/usr/share/doc/$package/copyright" "$prefix/share/licenses/$package"
done
install -m 644 LICENSE NOTICE "$prefix/share/licenses/"
install -m 644 "$deps/arrow/licenses/LICENSE.txt" "$prefix/share/licenses/arrow"
install -m 644 "$deps/arrow/licenses/NOTICE.txt" "$prefix/share/licenses/arrow-notice"
install -m 644 "$deps/duckdb/licenses/LICENSE" "$prefix/share/licenses/duckdb"

# Nothing outside the folder may be needed but the base.
foreign=$(for file in "$prefix/bin/freshet" "$prefix"/lib/*.so*; do env -i ldd "$file"; done |
  awk -v base="$base" -v prefix="$prefix/" \
    '/=>/ && $1 !~ base && index($3, prefix) != 1 { print $1, $3, $4 }' | sort -u)
if [[ -n $foreign ]]; then
  printf 'install: needed from outside the folder:\n%s\n' "$foreign" >&2
  exit 1
fi
env -i "$prefix/bin/freshet" --help >/dev/null
echo "install: $prefix, $(du -sh "$prefix" | cut -f1)," \
  "$(find "$prefix/lib" -name '*.so*' | wc -l) libraries"
