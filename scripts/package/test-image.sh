#!/usr/bin/env bash
# test-image.sh: runs the root file system of `make image` in a chroot, read-only and as the image's user, as a container
# would: set up a database, serve, answer the probe, end by SIGTERM. Needs root.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/package/needs.sh
[ "$(id -u)" = 0 ] || { echo "test-image.sh: needs root, for chroot and mount" >&2; exit 1; }
needs umoci umoci
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
dir=$(mktemp -d)
root=$dir/bundle/rootfs
daemon=
finish() {
  [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
  ! mountpoint -q "$root" || umount -R "$root"
  scripts/testdb.sh remove "$dir/server" >/dev/null 2>&1 || true
  rm -rf "$dir"
}
trap finish EXIT
fail() { echo "test-image.sh: $*" >&2; exit 1; }

umoci unpack --image "target/package/image:$version" "$dir/bundle"
config=$dir/bundle/config.json
field() { python3 -c "import json, sys; print(json.load(open('$config'))['process']$1)"; }
[ "$(field "['args']")" = "['/usr/bin/resqd', '-v']" ] || fail "it starts $(field "['args']")"
[ "$(field "['user']['uid']")" = 65532 ] || fail "it runs as $(field "['user']")"
[ "$(ls "$root")" = $'etc\nusr' ] || fail "there is more in it than the programs: $(ls "$root")"

read -r port _ <<<"$(scripts/testdb.sh up mariadb1011 "$dir/server")"
sed 's/CHANGE-ME/a-password/' scripts/grants.sql |
  "$(cat "$dir/server/client")" --no-defaults -uroot -h127.0.0.1 -P"$port"
install -d "$root/run/secrets"
install -m 440 -g 65532 <(echo a-password) "$root/run/secrets/password"
install -m 440 -g 65532 <(echo a-token) "$root/run/secrets/token"
# Free, since this test owns the server's block of ports.
listen=127.0.0.1:$((port + 8))
# What a runtime provides.
mkdir "$root/dev" "$root/proc"
touch "$root/dev/null"
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind /dev/null "$root/dev/null"
mount -o remount,ro,bind "$root"

run() { # PROGRAM ARG...   replaces this shell, so that a signal reaches the program
  exec env -i PATH=/usr/bin MYSQL_HOST=127.0.0.1 MYSQL_PORT="$port" MYSQL_USER=resq RESQ_DB_WAIT_S=10 RESQ_LISTEN="$listen" \
    MYSQL_PASSWORD_FILE=/run/secrets/password RESQ_TOKEN_FILE=/run/secrets/token RESQ_PORT="${listen#*:}" \
    "$(command -v chroot)" --userspec=65532:65532 "$root" "/usr/bin/$1" "${@:2}"
}
healthy() { (run resqd healthcheck); }
(run resqctl init)
! healthy 2>/dev/null || fail "the probe finds a daemon that was not started"
run resqd -v 2>"$dir/resqd.log" &
daemon=$!
for _ in $(seq 300); do ! healthy 2>/dev/null || break; sleep 0.1; done
healthy || { cat "$dir/resqd.log" >&2; fail "the probe finds no daemon"; }
(run resqctl seed --count 5)
(run resqctl wait --timeout 60)
[ "$(run resq-client --sub Completed --since 0 --count 5 | wc -l)" = 5 ] || fail "five events should have arrived"
kill "$daemon"
wait "$daemon" || fail "it should have ended with 0"
daemon=
echo "image: everything as it should be"
