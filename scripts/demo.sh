#!/usr/bin/env bash
# demo.sh: what `make demo` runs after the build. The database `Test` has a table whose rows go through the states Imaging,
# Suspended, Completed and Error, and a trigger that publishes each change. Two clients subscribe, one to Error and
# Suspended, one to Completed, Error, Imaging and Suspended. Each must receive its own states and nothing else, and
# nothing that was rolled back. The server is private and removed at the end; SERVER is a kind of testdb.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
programs=${CARGO_TARGET_DIR:-$PWD/target}/release
unset "${!MYSQL_@}" "${!RESQ_@}"
dir=$(mktemp -d)
pids=()
finish() {
  kill "${pids[@]}" 2>/dev/null || true
  wait "${pids[@]}" 2>/dev/null || true
  scripts/testdb.sh remove "$dir/server" >/dev/null 2>&1 || true
  rm -rf "$dir"
}
trap finish EXIT

wait_for_text() { # FILE TEXT: waits until the file contains the text
  for _ in $(seq 300); do ! grep -qs -- "$2" "$1" || return 0; sleep 0.1; done
  echo "demo.sh: \"$2\" did not appear within 30 s in:" >&2
  cat "$1" >&2
  return 1
}

echo "making a private database server"
node=$(scripts/testdb.sh up "${SERVER:-local}" "$dir/server")
read -r port socket _ <<<"$node"
export RESQ_CONFIG=$dir/resq.toml
printf '[database]\nsocket = "%s"\nport = %s\n[broker]\nlisten = "127.0.0.1:0"\n[http]\nlisten = []\n' "$socket" "$port" >"$RESQ_CONFIG"
"$programs/resqctl" init >/dev/null
"$programs/resqd" -v >"$dir/resqd.log" 2>&1 &
pids+=($!)
wait_for_text "$dir/resqd.log" '127\.0\.0\.1:[0-9]'
port=$(sed -n 's/.*127\.0\.0\.1:\([0-9]*\).*/\1/p' "$dir/resqd.log" | head -1)
printf '[client]\nport = %s\n' "$port" >>"$RESQ_CONFIG"

subscribe() { # NAME STATE...
  local name=$1
  shift
  echo "$name subscribes to: $*"
  "$programs/resq-client" -v --name "$name" --sub "$@" >"$dir/$name" 2>"$dir/$name.log" &
  pids+=($!)
  wait_for_text "$dir/$name.log" 'subscribed'
}
subscribe alarm Error Suspended
subscribe screen Completed Error Imaging Suspended

# The functions wake this daemon from inside the server; without them it polls once a second.
sql=("$(cat "$dir/server/client")" --no-defaults -uroot -S "$socket")
echo "addr = 127.0.0.1:$port" >"$dir/server/plugin/resq_udf.conf"
MYSQL="${sql[*]}" udf/install.sh >"$dir/udf.log" 2>&1 || echo "without the loadable functions: $(tail -1 "$dir/udf.log")"
"${sql[@]}" <udf/initialize.sql

change() { echo "SQL: $1" && "${sql[@]}" Test -e "$1"; }
change "INSERT INTO runs (name) VALUES ('T7'), ('T8')"
change "UPDATE runs SET state = 'Suspended' WHERE name = 'T7'"
change "START TRANSACTION; UPDATE runs SET state = 'Error' WHERE name = 'T7'; ROLLBACK"
change "UPDATE runs SET state = 'Completed' WHERE name = 'T7'"
change "CALL resq.publish('Idle', '{\"bench\":3}')"
change "UPDATE runs SET state = 'Error' WHERE name = 'T8'"
wait_for_text "$dir/screen" Error
wait_for_text "$dir/alarm" Error

verdict=0
check() { # NAME STATES
  printf '\n%s received:\n' "$1"
  sed 's/^/  /' "$dir/$1"
  got=$(cut -d' ' -f2 "$dir/$1" | paste -sd' ')
  [ "$got" = "$2" ] || { echo "demo.sh: $1 should have received: $2" >&2; verdict=1; }
}
check alarm "Suspended Error"
check screen "Imaging Imaging Suspended Completed Error"
exit $verdict
