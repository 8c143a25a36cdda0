#!/usr/bin/env bash
# install.sh: installs the loadable functions into a MySQL or MariaDB server on this host and registers them.
#
#   install.sh               asks the server for its plugin folder, by the client in MYSQL, installs and registers
#   install.sh PLUGIN_DIR    installs into this folder and prints the SQL that registers the functions
#
#   MYSQL="mysql -u root -p"   command-line client with its options
#   SERVER_PID                 process of the server, whose C library and group are examined (default: ask the server)
#   RESQ_UDF_LIB               library to install (default: the one beside this script, or the one that `make udf` built)
#
# Each build is installed under its own name, so that a library that a server has loaded is never overwritten.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lib=${RESQ_UDF_LIB:-$here/libresq_udf.so}
[ -n "${RESQ_UDF_LIB:-}" ] || [ -f "$lib" ] || lib=$here/target/release/libresq_udf.so
mysql=${MYSQL:-$(command -v mysql || command -v mariadb || echo mysql)}
die() { echo "install.sh: $*" >&2; exit 1; }
ask() { $mysql -N -B -e "$1" || die "'$mysql' failed; set MYSQL to a client with an administrator's login, or pass the plugin folder as argument"; }

[ "$#" -le 1 ] && [ "${1:-}" != --help ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d' >&2; exit 2; }
[ -f "$lib" ] || die "$lib does not exist; build it with 'make udf'"

dir=${1:-}
pid=${SERVER_PID:-}
if [ -z "$dir" ]; then
  { read -r dir; read -r file; } < <(ask "SELECT @@plugin_dir; SELECT @@pid_file")
  pid=${pid:-$(cat "$file" 2>/dev/null || true)}
fi
[ -d "$dir" ] && [ -w "$dir" ] || die "user $(id -un) cannot write to the folder $dir; run as root or as the folder's owner"
dir=$(cd "$dir" && pwd)

# Compares the newest symbol version that the library needs with the newest that the server's C library has. A server
# that lacks it refuses to load the library (error 1126, GLIBC_… not found).
newest() { grep -ao 'GLIBC_2[0-9.]*' "$1" | sort -uV | tail -1; }
libc=$(awk '$6 ~ /\/libc[.-][^\/]*so/ { print $6; exit }' "/proc/${pid:-self}/maps") || die "cannot read /proc/$pid/maps; run as root"
[ -z "$pid" ] || libc=/proc/$pid/root$libc
[ -f "$libc" ] || die "the C library of the server is not glibc, which the functions need"
need=$(newest "$lib")
have=$(newest "$libc")
[ "$(printf '%s\n' "$need" "$have" | sort -V | tail -1)" = "$have" ] ||
  die "the library needs $need, but the C library of the server has only $have; build it on a system as old as the server's"

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
# Addresses of resqd: host:port or unix:/path, several separated by commas or on several lines.
# The functions read this file again at every reconnect.
addr = 127.0.0.1:1300

# The broker.token of resqd. If it is set, only the server may be able to read this file.
#token = …
CONF
  group=$(awk '$1 == "Gid:" { print $3 }' "/proc/$pid/status" 2>/dev/null || getent group mysql | cut -d : -f 3 || true)
  chgrp "${group:-$(id -g)}" "$conf.new" 2>/dev/null || echo "$conf: cannot change its group; give it to the group of the server" >&2
  chmod 640 "$conf.new"
  mv "$conf.new" "$conf"
  echo "wrote $conf" >&2
fi

sql=$(sed "s/libresq_udf\.so/$name/" "$here/register_udf.sql")
if [ -n "${1:-}" ]; then echo "$sql"; else ask "$sql SELECT 'registered', resq_stats()"; fi
