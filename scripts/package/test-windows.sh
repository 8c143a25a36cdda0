#!/usr/bin/env bash
# test-windows.sh: runs the clients of `make windows` under Wine against resqd on this host: subscribe, resume over a restart
# of resqd, publish, both by TLS, --exec, and --toast where there is no desktop. Installs Wine, as root, if it is missing.
#   PROFILE=dev   with programs that were built with it
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/package/needs.sh
needs wine wine wine64
profile=${PROFILE:-release}
built=${CARGO_TARGET_DIR:-target}
programs=$built/${profile/#dev/debug}
dir=$(mktemp -d)
daemon=
finish() {
  [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
  wineserver=$(command -v wineserver || echo /usr/lib/wine/wineserver64)
  [ ! -x "$wineserver" ] || WINEPREFIX=$dir/wine "$wineserver" --kill 2>/dev/null || true
  scripts/testdb.sh remove "$dir/server" >/dev/null 2>&1 || true
  rm -rf "$dir"
}
trap finish EXIT
fail() { echo "test-windows.sh: $*" >&2; exit 1; }
step() { printf -- '-- %s\n' "$*"; }
wait_for_lines() { # FILE N
  local end=$((SECONDS + 60))
  until [ "$(wc -l <"$1")" -ge "$2" ]; do [ "$SECONDS" -lt "$end" ] || { cat "$1"* >&2; fail "$1 has no $2 lines"; }; sleep 0.1; done
}

for program in resq-client resq-trigger; do
  cp "$built/x86_64-pc-windows-gnu/${profile/#dev/debug}/$program.exe" "$dir/"
done
cache=${TESTDB_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/resq-servers}/wine
scripts/testdb/fetch.sh wine "$cache"
cp "$(find "$cache/root" -path '*x86_64-windows/bcryptprimitives.dll' | head -1)" "$dir/"
export WINEPREFIX=$dir/wine WINEDEBUG=-all WINEARCH=win64
unset DISPLAY WAYLAND_DISPLAY

unset "${!MYSQL_@}" "${!RESQ_@}"
read -r port socket _ <<<"$(scripts/testdb.sh up mariadb1011 "$dir/server")"
listen=$((port + 8)) # of the server's own block of ports
tls=$((port + 9))
scripts/certificates.sh "$dir/tls" server 127.0.0.1 >/dev/null
cat >"$dir/resq.toml" <<END
[database]
socket = "$socket"
[broker]
listen = ["127.0.0.1:$listen", "tls://127.0.0.1:$tls"]
tls_cert = "$dir/tls/server.pem"
tls_key = "$dir/tls/server.key"
[client]
port = $listen
END
export RESQ_CONFIG=$dir/resq.toml
start() {
  "$programs/resqd" 2>>"$dir/resqd.log" &
  daemon=$!
  local end=$((SECONDS + 60))
  until "$programs/resqd" healthcheck 2>/dev/null; do [ "$SECONDS" -lt "$end" ] || fail "resqd does not serve"; sleep 0.1; done
}
stop() { kill "$daemon" && wait "$daemon"; daemon=; }
client() { (cd "$dir" && RESQ_CONFIG='' exec wine ./resq-client.exe --port "$listen" "$@"); }
"$programs/resqctl" init >/dev/null
start

step "version"
client --version | tr -d '\r' | grep '^resq-client '

step "subscribe, and resume over a restart of resqd"
client --sub Completed --since 0 --count 10 >"$dir/events" 2>"$dir/events.log" &
reader=$!
"$programs/resqctl" seed --count 5 >/dev/null
wait_for_lines "$dir/events" 5
stop
"$programs/resqctl" seed --count 5 >/dev/null
start
wait "$reader" || { cat "$dir/events.log" >&2; fail "resq-client.exe failed"; }
[ "$(tr -d '\r' <"$dir/events" | sed 's/.*"res_id": *\([0-9]*\).*/\1/' | sort -nu | paste -sd' ')" = "1 2 3 4 5 6 7 8 9 10" ] ||
  { cat "$dir/events" >&2; fail "each of ten jobs should have arrived once"; }

step "publish"
: >"$dir/greeting"
"$programs/resq-client" --sub Greeting --count 1 --timeout 60 >"$dir/greeting" &
reader=$!
until grep -q Greeting "$dir/greeting"; do # an ephemeral event reaches only the clients connected at that moment
  (cd "$dir" && RESQ_CONFIG='' wine ./resq-trigger.exe --port "$listen" --name wine --state Greeting --payload '"hello"')
done
wait "$reader"
grep -q 'Greeting #0 "hello"' "$dir/greeting"

step "TLS"
by_tls() { program=$1; shift; (cd "$dir" && RESQ_CONFIG='' exec wine "./$program.exe" --port "$tls" "$@"); }
by_tls resq-client --tls verify --tls-ca tls/ca.pem --sub Completed --since 0 --count 2 >"$dir/secret"
[ "$(wc -l <"$dir/secret")" = 2 ] || fail "two events should have arrived by TLS"
by_tls resq-trigger --tls verify --tls-ca 'tls\ca.pem' --name wine --state Greeting --payload '"hello"'
by_tls resq-client --tls verify --sub Completed --timeout 30 2>"$dir/refused" && fail "an unknown authority was trusted"
grep -q 'not trusted here' "$dir/refused" || { cat "$dir/refused" >&2; fail "the reason should have been given"; }
by_tls resq-client --sub Completed --timeout 30 2>"$dir/refused" && fail "a client without TLS was let in"
grep -q 'this address expects TLS' "$dir/refused" || { cat "$dir/refused" >&2; fail "the reason should have been given"; }

step "--exec"
printf 'echo %%RESQ_SEQ%% %%RESQ_STATE%%>>out.txt\r\n' >"$dir/program.bat"
client --sub Completed --since 0 --count 2 --exec program.bat >/dev/null
[ "$(tr -d '\r' <"$dir/out.txt" | grep -c ' Completed$')" = 2 ] || { cat "$dir/out.txt" >&2; fail "--exec should have run twice"; }

step "--toast without a desktop"
client --sub Completed --since 0 --count 2 --toast >"$dir/toast" 2>"$dir/toast.log" || { cat "$dir/toast.log" >&2; fail "--toast"; }
[ "$(wc -l <"$dir/toast")" = 2 ] || fail "the events should have been printed"
cat "$dir/toast.log"
stop
echo "windows: everything as it should be"
