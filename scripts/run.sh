#!/usr/bin/env bash
# run.sh: sets up a server, queues resources and runs resqd in the foreground until Ctrl-C. What `make run` does after
# the build.
#   WORKERS  resqd's workers (5)
#   SEED     resources to queue (20 on the private server; on MYSQL_HOST's or MYSQL_SOCKET's none unless given)
set -euo pipefail
cd "$(dirname "$0")/.."

programs=${CARGO_TARGET_DIR:-target}/release
listen=()

if [ -n "${MYSQL_HOST:-}${MYSQL_SOCKET:-}" ]; then
  seed=${SEED:-0}
  echo "server: ${MYSQL_SOCKET:-$MYSQL_HOST:${MYSQL_PORT:-3306}} as ${MYSQL_USER:-root}, from the environment; none is started"
  [ "$seed" != 0 ] || echo "nothing is queued there: SEED=20 queues twenty test resources"
else
  seed=${SEED:-20}
  node=$(scripts/testdb.sh up local .resq/server)
  read -r port socket _ <<<"$node"
  # Whatever else the environment or /etc says about a database is about another one.
  unset "${!MYSQL_@}" RESQ_DB_HOSTS
  printf '[database]\nsocket = "%s"\nport = %s\nuser = "root"\n' "$socket" "$port" >.resq/resq.toml
  export RESQ_CONFIG=$PWD/.resq/resq.toml
  echo "server: private, in .resq/server, port $port"
  # With the loadable functions an INSERT starts its job at once; without them it waits for the next poll.
  MYSQL="$(cat .resq/server/client) --no-defaults -uroot -S $socket" udf/install.sh >.resq/udf.log 2>&1 ||
    echo "the loadable functions are not installed (.resq/udf.log says why): changes are found by polling"
  echo "in another terminal:  $programs/resqctl --config .resq/resq.toml status"
fi

# A second `make run` shares the queue; only the usual port is taken then.
if [ -z "${RESQ_LISTEN:-}" ] && (exec 9<>/dev/tcp/127.0.0.1/1300) 2>/dev/null; then
  echo "port 1300 is taken: subscribers find this resqd on the port that it logs"
  listen=(--listen 127.0.0.1:0)
fi

"$programs/resqctl" init
[ "$seed" = 0 ] || "$programs/resqctl" seed --count "$seed"
exec "$programs/resqd" -v --workers "${WORKERS:-5}" "${listen[@]}"
