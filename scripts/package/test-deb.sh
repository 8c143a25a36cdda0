#!/usr/bin/env bash
# test-deb.sh: installs the packages of `make deb` in a fresh Debian made by debootstrap, as a user would: configure, run
# against a private server, upgrade, remove, install again, purge. Needs root; CARGO_TARGET_DIR is passed on to deb.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/package/needs.sh
[ "$(id -u)" = 0 ] || { echo "test-deb.sh: needs root, for debootstrap and chroot" >&2; exit 1; }
needs debootstrap debootstrap
needs lintian lintian
dir=$(mktemp -d)
root=$dir/root
daemon=
finish() {
  [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
  ! mountpoint -q "$root/proc" || umount "$root/proc"
  scripts/testdb.sh remove "$dir/server" >/dev/null 2>&1 || true
  rm -rf "$dir"
}
trap finish EXIT
fail() { echo "test-deb.sh: $*" >&2; exit 1; }
step() { printf -- '-- %s\n' "$*"; }
wait_for() { # SECONDS COMMAND...
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do [ "$SECONDS" -lt "$end" ] || fail "this did not come true: $*"; sleep 0.1; done
}
in_root() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
as_resq() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$(command -v chroot)" --userspec=resq:resq "$root" "$@"; }

step "packages of two versions"
VERSION=0.0.1 scripts/package/deb.sh "$dir/old" >/dev/null
scripts/package/deb.sh "$dir/new"
version=$(dpkg-deb -f "$dir"/new/resq_*.deb Version)
lintian --fail-on error "$dir"/new/*.deb || fail "lintian found errors"

step "a fresh Debian"
mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } |
  sed -En 's/#.*//; s!.*(https?://[^ ]*/debian)/?( .*)?$!\1!p' | head -1)
debootstrap --variant=minbase --include=adduser,zlib1g,libgcc-s1 bookworm "$root" "$mirror" >"$dir/debootstrap.log" 2>&1 ||
  { tail -20 "$dir/debootstrap.log" >&2; fail "debootstrap failed"; }
mount -t proc proc "$root/proc"
mkdir "$root/packages"
cp "$dir"/old/*.deb "$dir"/new/*.deb "$root/packages/"

step "install: not enabled, not started, settings for root and the group resq only"
in_root sh -c 'dpkg -i /packages/*_0.0.1_*.deb' >"$dir/dpkg.log" 2>&1 || { cat "$dir/dpkg.log" >&2; fail "cannot install"; }
[ "$(in_root stat -c '%U:%G %a' /etc/resq/resq.toml)" = "root:resq 640" ] || fail "permissions of resq.toml"
[ ! -e "$root/etc/systemd/system/multi-user.target.wants/resqd.service" ] || fail "the unit is enabled"
[ -z "$(find /proc/[0-9]*/exe -lname "$root/usr/bin/resqd" 2>/dev/null)" ] || fail "resqd runs"
as_resq resqd --version | grep -q '^resqd ' || fail "resqd does not run"
in_root sh -c 'ls /usr/share/man/man8/resqd.8.gz /usr/share/bash-completion/completions/resqctl /usr/lib/resq/libresq_udf.so' >/dev/null

step "configure and run"
read -r port _ <<<"$(scripts/testdb.sh up mariadb1011 "$dir/server")"
sql() { "$(cat "$dir/server/client")" --no-defaults -uroot -h127.0.0.1 -P"$port" -N -e "$1"; }
sed 's/CHANGE-ME/a-password/' "$root/usr/share/resq/grants.sql" |
  "$(cat "$dir/server/client")" --no-defaults -uroot -h127.0.0.1 -P"$port"
sed -i "s/^#host = .*/host = \"127.0.0.1\"/; s/^#port = 3306/port = $port/; s/^#user = .*/user = \"resq\"/
  s/^#password = .*/password = \"a-password\"/; s/^#listen = .*/listen = []/" "$root/etc/resq/resq.toml"
install -d -m 755 "$root/run/resq"
in_root chown resq:resq /run/resq
start() {
  (exec chroot --userspec=resq:resq "$root" /usr/bin/resqd --socket /run/resq/resq.sock >"$dir/resqd.log" 2>&1) &
  daemon=$!
  wait_for 30 as_resq resqd --socket /run/resq/resq.sock healthcheck
}
stop() {
  kill "$daemon"
  wait "$daemon" || { cat "$dir/resqd.log" >&2; fail "resqd should have ended with 0"; }
  daemon=
}
as_resq resqctl init >/dev/null
as_resq resqctl doctor >"$dir/doctor" || { cat "$dir/doctor" >&2; fail "doctor"; }
start
as_resq resqctl add first >/dev/null
as_resq resqctl wait --timeout 60
stop

step "upgrade: settings, account and rows stay"
in_root sh -c "dpkg -i /packages/*_${version}_*.deb" >"$dir/dpkg.log" 2>&1 || { cat "$dir/dpkg.log" >&2; fail "cannot upgrade"; }
grep -q 'password = "a-password"' "$root/etc/resq/resq.toml" || fail "the settings are lost"
[ "$(in_root stat -c '%U:%G %a' /etc/resq/resq.toml)" = "root:resq 640" ] || fail "permissions of resq.toml after the upgrade"
as_resq resqctl init >/dev/null
start
as_resq resqctl add second >/dev/null
as_resq resqctl wait --timeout 60
[ "$(sql "SELECT COUNT(*) FROM resq.res_queue WHERE status = 'done'")" = 2 ] || fail "both jobs should be done"
stop

step "remove: settings and account stay; install again"
in_root dpkg -r resq resq-udf >"$dir/dpkg.log" 2>&1 || { cat "$dir/dpkg.log" >&2; fail "cannot remove"; }
[ -f "$root/etc/resq/resq.toml" ] || fail "the settings are gone"
in_root getent passwd resq >/dev/null || fail "the account is gone"
[ ! -e "$root/usr/bin/resqd" ] || fail "resqd is still there"
in_root sh -c "dpkg -i /packages/resq_${version}_*.deb" >"$dir/dpkg.log" 2>&1 || { cat "$dir/dpkg.log" >&2; fail "cannot install again"; }
as_resq resqctl status | grep -q '^done  *2' || fail "its settings are gone"

step "purge: nothing of it stays"
in_root dpkg --purge resq resq-udf >"$dir/dpkg.log" 2>&1 || { cat "$dir/dpkg.log" >&2; fail "cannot purge"; }
! in_root getent passwd resq >/dev/null || fail "the account is still there"
left=$(find "$root/etc" "$root/usr" "$root/var/lib/systemd" -name '*resq*' 2>/dev/null || true)
[ -z "$left" ] || fail "still there: $left"
[ "$(sql "SELECT COUNT(*) FROM resq.res_queue")" = 2 ] || fail "the rows on the server are gone"
echo "packages: everything as it should be"
