#!/usr/bin/env bash
# install.sh: puts the loadable functions into a MySQL or MariaDB server on this host and registers them.
#
#   install.sh               asks the server, by the client in MYSQL, where its plugins are, and registers
#   install.sh PLUGIN_DIR    installs there and prints the SQL that registers
#
#   MYSQL="mysql -u root -p"   the client with its options
#   SERVER_PID                 the server's process, where it is not asked for: whose C library and group count
#   RESQ_UDF_LIB               the library (default: the one beside this script, or that `make udf` built)
#
# Each build gets a name of its own, so that a library that a server has loaded is never overwritten.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lib=${RESQ_UDF_LIB:-$here/libresq_udf.so}
[ -n "${RESQ_UDF_LIB:-}" ] || [ -f "$lib" ] || lib=$here/target/release/libresq_udf.so
mysql=${MYSQL:-$(command -v mysql || command -v mariadb || echo mysql)}
die() { echo "install.sh: $*" >&2; exit 1; }
ask() { $mysql -N -B -e "$1" || die "'$mysql' failed: set MYSQL to a client that may register, or give the plugin folder"; }

[ "$#" -le 1 ] && [ "${1:-}" != --help ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d' >&2; exit 2; }
[ -f "$lib" ] || die "$lib is not there: build it with 'make udf'"

dir=${1:-}
pid=${SERVER_PID:-}
if [ -z "$dir" ]; then
  { read -r dir; read -r file; } < <(ask "SELECT @@plugin_dir; SELECT @@pid_file")
  pid=${pid:-$(cat "$file" 2>/dev/null || true)}
fi
[ -d "$dir" ] && [ -w "$dir" ] || die "$dir is no folder that $(id -un) may write to"
dir=$(cd "$dir" && pwd)

# The newest symbol version that the library needs against the newest that the server's C library has; a server that
# lacks it refuses to load the library (error 1126, GLIBC_… not found).
newest() { grep -ao 'GLIBC_2[0-9.]*' "$1" | sort -uV | tail -1; }
libc=$(awk '$6 ~ /\/libc[.-][^\/]*so/ { print $6; exit }' "/proc/${pid:-self}/maps") || die "cannot read /proc/$pid/maps: run as root"
[ -z "$pid" ] || libc=/proc/$pid/root$libc
[ -f "$libc" ] || die "the server's C library is not glibc"
need=$(newest "$lib")
have=$(newest "$libc")
[ "$(printf '%s\n' "$need" "$have" | sort -V | tail -1)" = "$have" ] ||
  die "the library needs $need, the server's C library ends at $have: build it on a system as old as the server's"

version=$(grep -ao -m 1 'resq_udf [0-9][0-9.]* pid' "$lib" | cut -d ' ' -f 2)
name=libresq_udf-$version-$(sha256sum "$lib" | cut -c 1-8).so
if [ ! -f "$dir/$name" ]; then
  install -m 755 "$lib" "$dir/.$name.new"
  mv "$dir/.$name.new" "$dir/$name"
fi
echo "installed $dir/$name" >&2

conf=$dir/resq_udf.conf
if [ ! -f "$conf" ]; then
  (umask 077 && cat >"$conf.new") <<'CONF'
# Where the server's functions find resqd: host:port or unix:/path, several by comma or on several lines.
# Read again at every reconnect.
addr = 127.0.0.1:1300

# As broker.token of resqd. With a token nobody but the server may read this file.
#token = …
CONF
  group=$(awk '$1 == "Gid:" { print $3 }' "/proc/$pid/status" 2>/dev/null || getent group mysql | cut -d : -f 3 || true)
  chgrp "${group:-$(id -g)}" "$conf.new" 2>/dev/null || echo "$conf: give it to the server's group" >&2
  chmod 640 "$conf.new"
  mv "$conf.new" "$conf"
  echo "wrote $conf" >&2
fi

sql=$(sed "s/libresq_udf\.so/$name/" "$here/register_udf.sql")
if [ -n "${1:-}" ]; then echo "$sql"; else ask "$sql SELECT 'registered', resq_stats()"; fi
