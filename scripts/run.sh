#!/usr/bin/env bash
# run.sh: what `make run` runs after the build. Starts a private server, enqueues resources and runs resqd in the
# foreground until Ctrl-C. If MYSQL_HOST or MYSQL_SOCKET is set, it uses that server instead.
#   WORKERS  number of workers of resqd (5)
#   SEED     number of resources to enqueue (20 on the private server, 0 on another)
set -euo pipefail
cd "$(dirname "$0")/.."

programs=${CARGO_TARGET_DIR:-target}/release
listen=()

if [ -n "${MYSQL_HOST:-}${MYSQL_SOCKET:-}" ]; then
  seed=${SEED:-0}
  echo "server: ${MYSQL_SOCKET:-$MYSQL_HOST:${MYSQL_PORT:-3306}} as ${MYSQL_USER:-root}, from the environment; not starting a private one"
  [ "$seed" != 0 ] || echo "nothing is enqueued there; SEED=20 enqueues twenty test resources"
else
  seed=${SEED:-20}
  node=$(scripts/testdb.sh up local .resq/server)
  read -r port socket _ <<<"$node"
  # Other settings of the environment or /etc are about another server.
  unset "${!MYSQL_@}" RESQ_DB_HOSTS
  printf '[database]\nsocket = "%s"\nport = %s\nuser = "root"\n' "$socket" "$port" >.resq/resq.toml
  export RESQ_CONFIG=$PWD/.resq/resq.toml
  echo "server: private, in .resq/server, port $port"
  # With the loadable functions an INSERT starts its job at once; without them the job waits for the next poll.
  MYSQL="$(cat .resq/server/client) --no-defaults -uroot -S $socket" udf/install.sh >.resq/udf.log 2>&1 ||
    echo "the loadable functions are not installed, so changes are found by polling; see .resq/udf.log for the reason"
  echo "in another terminal:  $programs/resqctl --config .resq/resq.toml status"
fi

# A second `make run` shares the queue, but cannot have the same port.
if [ -z "${RESQ_LISTEN:-}" ] && (exec 9<>/dev/tcp/127.0.0.1/1300) 2>/dev/null; then
  echo "port 1300 is in use; resqd listens on another one and logs it"
  listen=(--listen 127.0.0.1:0)
fi

"$programs/resqctl" init
[ "$seed" = 0 ] || "$programs/resqctl" seed --count "$seed"
exec "$programs/resqd" -v --workers "${WORKERS:-5}" "${listen[@]}"
