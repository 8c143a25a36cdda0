#!/usr/bin/env bash
# demo.sh: the story in which resq began. Two clients subscribe, one to Error and Suspended, one to Completed, Error,
# Imaging and Suspended; jobs end well and badly, and a test bench publishes news of its own. Each client must get
# what it asked for and nothing else. Everything is private and gone at the end. What `make demo` does after the build.
set -euo pipefail
cd "$(dirname "$0")/.."
programs=$PWD/${CARGO_TARGET_DIR:-target}/release
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

until_there() { # FILE TEXT: waits until the file holds the text
  for _ in $(seq 300); do ! grep -qs -- "$2" "$1" || return 0; sleep 0.1; done
  echo "demo.sh: waited in vain for \"$2\":" >&2
  cat "$1" >&2
  return 1
}

node=$(scripts/testdb.sh up local "$dir/server")
read -r port socket _ <<<"$node"
export RESQ_CONFIG=$dir/resq.toml
printf '[database]\nsocket = "%s"\nport = %s\n[broker]\nlisten = "127.0.0.1:0"\n' "$socket" "$port" >"$RESQ_CONFIG"
"$programs/resqctl" init >/dev/null
"$programs/resqd" -v >"$dir/resqd.log" 2>&1 &
pids+=($!)
until_there "$dir/resqd.log" 'listening on 127'
port=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\).*/\1/p' "$dir/resqd.log" | head -1)
printf '[client]\nport = %s\n' "$port" >>"$RESQ_CONFIG"

client() { # NAME STATE...
  local name=$1
  shift
  echo "$name asks for: $*"
  "$programs/resq-client" -v --name "$name" --sub "$@" >"$dir/$name" 2>"$dir/$name.log" &
  pids+=($!)
  until_there "$dir/$name.log" 'subscribed at'
}
client alarm Error Suspended
client screen Completed Error Imaging Suspended

publish() { echo "published: $1 $2" && "$programs/resq-trigger" --name bench --state "$1" --payload "$2"; }
echo "queued: shop-1, which ends well, and lab-1, of a type that does not exist"
"$programs/resqctl" add shop-1 >/dev/null
"$programs/resqctl" add lab-1 --type nonsense >/dev/null
until_there "$dir/screen" Completed
until_there "$dir/screen" Error
publish Imaging '{"slide":1}'
publish Idle '{"bench":"T7"}'
publish Suspended '{"test":"T7"}'
until_there "$dir/screen" Suspended
until_there "$dir/alarm" Suspended

verdict=0
check() { # NAME STATES
  printf '\n%s got:\n' "$1"
  sed 's/^/  /' "$dir/$1"
  got=$(cut -d' ' -f2 "$dir/$1" | sort | paste -sd' ')
  [ "$got" = "$2" ] || { echo "demo.sh: $1 should have got: $2" >&2; verdict=1; }
}
check alarm "Error Suspended"
check screen "Completed Error Imaging Suspended"
exit $verdict
