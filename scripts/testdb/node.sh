# One server process and its folder $dir/nN: data, port, socket, pid, server.log. Sourced by testdb.sh.
# shellcheck shell=bash disable=SC2034,SC2154

# Each server has its own tmpdir: a starting MariaDB deletes all temporary tables in it, even those of another server.
init_data() { # N
  local data=$dir/n$1/data
  export TMPDIR=$dir/n$1/tmp
  mkdir -p "$TMPDIR"
  if is_mariadb; then
    local as_root=()
    [ "$(id -u)" != 0 ] || as_root=(--user=root)
    # From inside the folder, since the script accepts no path with spaces.
    (cd "$dir/n1" && "$(PATH=$usr/bin:$usr/scripts:$PATH command -v mariadb-install-db || command -v mysql_install_db)" \
      --no-defaults --basedir="$usr" --datadir=./data "${as_root[@]}" --auth-root-authentication-method=normal \
      --skip-test-db --skip-name-resolve --innodb-flush-log-at-trx-commit=2) </dev/null >"$dir/init.log" 2>&1
  else
    "$server" "${options[@]}" --initialize-insecure --datadir="$data" --innodb-flush-log-at-trx-commit=2 \
      --log-error="$dir/init.log"
  fi || { grep -v "^$" "$dir/init.log" | head -20 >&2; die "cannot initialise $data"; }
}

# Process numbers are reused: a pid is this node's only if that process runs with the node's data folder.
running() { # N
  local pid
  pid=$(cat "$dir/n$1/pid" 2>/dev/null) && grep -qzxF -e "--datadir=$dir/n$1/data" "/proc/$pid/cmdline" 2>/dev/null
}

start() { # N OPTION...
  local n=$1 node=$dir/n$1 pid
  shift
  mkdir -p "$node/tmp"
  if [ ! -f "$node/socket" ]; then # a socket's path has at most 107 characters
    if [ ${#node} -le 98 ]; then echo "$node/sock" >"$node/socket"; else echo "$(mktemp -d /tmp/resq-XXXXXX)/sock" >"$node/socket"; fi
  fi
  mkdir -p "$(dirname "$(cat "$node/socket")")"
  echo $((base + n - 1)) >"$node/port"
  # After a kill -9, the lock file names a process number that another process may have by now.
  rm -f "$(cat "$node/socket").lock"
  : >"$node/server.log"
  hostile=()
  [ ! -f "$dir/hostile" ] || set_hostile
  # shellcheck disable=SC2086 # ARGS is a list of options
  setsid "$server" "${options[@]}" --datadir="$node/data" --port="$(cat "$node/port")" --socket="$(cat "$node/socket")" \
    --tmpdir="$node/tmp" --pid-file="$node/server.pid" --log-error="$node/server.log" \
    "${hostile[@]}" "$@" ${ARGS:-} </dev/null >>"$node/server.log" 2>&1 8>&- &
  pid=$!
  disown # so that the shell does not report its end
  echo "$pid" >"$node/pid"
  wait_for 120 "node $n to start" grep -q 'ready for connections' "$node/server.log"
}

wait_for() { # SECONDS WHAT COMMAND...   fails if a node ends meanwhile
  local end=$((SECONDS + $1)) what=$2 n
  shift 2
  until "$@" >/dev/null 2>&1; do
    for n in "$dir"/n*/pid; do
      [ ! -e "$n" ] || alive "$(cat "$n")" || { tail -20 "${n%pid}server.log" >&2; die "${n%/pid} ended while waiting for $what"; }
    done
    [ "$SECONDS" -lt "$end" ] || die "timed out waiting for $what"
    sleep 0.05
  done
}

stop() { # N
  if running "$1"; then
    local pid end=$((SECONDS + 30))
    pid=$(cat "$dir/n$1/pid")
    kill "$pid"
    while alive "$pid" && [ "$SECONDS" -lt "$end" ]; do sleep 0.05; done
    ! running "$1" || kill -9 "$pid"
  fi
  rm -f "$dir/n$1/pid"
}

alive() { # PID   false for a zombie
  grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$1/status"
}

sql() { # N STATEMENT
  "$client" --no-defaults -uroot -S "$(cat "$dir/n$1/socket")" -N -e "$2"
}
