#!/usr/bin/env bash
# run.sh [-v]: what `make run` runs after the build. Starts a private server, enqueues resources, runs resqd until Ctrl-C, and
# shows what it finishes. If MYSQL_HOST or MYSQL_SOCKET is set, it uses that server instead.
#   -v       show the log of resqd with every event instead
#   WORKERS  number of workers of resqd (5)
#   SEED     number of resources to enqueue (20 on the private server, 0 on another)
set -euo pipefail
cd "$(dirname "$0")/.."

programs=${CARGO_TARGET_DIR:-target}/release
mkdir -p .resq
config=() listen=() client=()
# What runs in the background ends with this script, even if that is killed. Other systems than Linux have no setpriv.
tied=()
! setpriv --pdeathsig TERM true 2>/dev/null || tied=(setpriv --pdeathsig TERM)

if [ -n "${MYSQL_HOST:-}${MYSQL_SOCKET:-}" ]; then
  seed=${SEED:-0}
  echo "server     ${MYSQL_SOCKET:-$MYSQL_HOST:${MYSQL_PORT:-3306}} as ${MYSQL_USER:-root}, from the environment"
else
  seed=${SEED:-20}
  [ -f .resq/server/ready ] || echo "making a private database server, once"
  node=$(scripts/testdb.sh up local .resq/server)
  read -r port socket _ <<<"$node"
  # Other settings of the environment or /etc are about another server.
  unset "${!MYSQL_@}" RESQ_DB_HOSTS
  config=(--config .resq/resq.toml)
  printf '[database]\nsocket = "%s"\nport = %s\nuser = "root"\n' "$socket" "$port" >.resq/resq.toml
  export RESQ_CONFIG=$PWD/.resq/resq.toml
  echo "server     private, in .resq/server, port $port"
  # With the loadable functions an INSERT starts its job at once; without them the job waits for the next poll.
  MYSQL="$(cat .resq/server/client) --no-defaults -uroot -S $socket" udf/install.sh >.resq/udf.log 2>&1 ||
    echo "           without the loadable functions, so changes are found by polling; .resq/udf.log has the reason"
fi

# A second `make run` shares the queue, but cannot have the same port.
unset port
if [ -z "${RESQ_LISTEN:-}" ]; then
  port=1300
  while (exec 9<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  [ "$port" = 1300 ] || listen=(--listen "127.0.0.1:$port") client=(--port "$port")
elif [ -z "${RESQ_SOCKET:-}" ]; then
  client=(--port "${RESQ_LISTEN##*:}")
fi

# The page can act with a token, which its link carries.
page=
if [ -z "${RESQ_HTTP:-}" ]; then
  http=$((${port:-1300} + 1))
  while (exec 9<>"/dev/tcp/127.0.0.1/$http") 2>/dev/null; do http=$((http + 1)); done
  export RESQ_HTTP=127.0.0.1:$http RESQ_HTTP_TOKEN=${RESQ_HTTP_TOKEN:-$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')}
  page=http://$RESQ_HTTP/#token=$RESQ_HTTP_TOKEN
fi

"$programs/resqctl" init >/dev/null
# Where the event log ends before this run.
head=$("$programs/resqctl" events --limit 1 --json 2>/dev/null | sed -n 's/^{"seq":\([0-9]*\).*/\1/p')
[ "$seed" = 0 ] || "$programs/resqctl" seed --count "$seed" >/dev/null
# With what an earlier run has left.
read -r running waiting <<<"$("$programs/resqctl" status --json | sed 's/.*"in_progress":\([0-9]*\).*"new":\([0-9]*\).*/\1 \2/')"
goal=$((seed > 0 ? running + waiting : 0))
resqd=("$programs/resqd" --workers "${WORKERS:-5}" "${listen[@]}")
[ "${1:-}" != -v ] || exec "${resqd[@]}" -v
"${tied[@]}" "${resqd[@]}" &
daemon=$! feed=
finish() {
  [ ! -t 1 ] || printf '\r\033[K' # the bar
  kill "$daemon" 2>/dev/null || true
  status=0
  wait "$daemon" || status=$?
  [ -z "$feed" ] || kill "$feed" 2>/dev/null || true
  [ ${#config[@]} = 0 ] || echo "The private server keeps running: \`make db-stop\` stops it, \`make clean-db\` removes it."
  exit "$status"
}
trap finish INT TERM HUP
while code=0; "$programs/resqd" "${listen[@]}" healthcheck 2>.resq/healthcheck.log || code=$?; [ "$code" != 0 ]; do
  [ "$code" != 2 ] || { cat .resq/healthcheck.log >&2; finish; }
  kill -0 "$daemon" 2>/dev/null || finish
  sleep 0.1
done
echo "queue      $seed test resources$([ "$goal" -le "$seed" ] || echo " and $((goal - seed)) from before"), ${WORKERS:-5} workers"
[ -z "$page" ] || echo "dashboard  $page"
printf 'subscribe  %s\n' "$programs/resq-client ${client[*]:+${client[*]} }--sub Completed Error --since 0"
printf 'add        %s\n' "$programs/resqctl ${config[*]:+${config[*]} }add my-first"
printf 'status     %s\n\n' "$programs/resqctl ${config[*]:+${config[*]} }status"

text() { sed -n "s/.*\"$1\":\"\(\([^\"\\\\]\|\\\\.\)*\)\".*/\1/p" <<<"$line"; }
bar() { # on a terminal: how many of the enqueued resources are finished
  [ -t 1 ] && [ "$finished" -lt "$goal" ] || return 0
  local full=$((40 * finished / goal))
  printf '[%-40s] %d/%d' "$(printf '%*s' "$full" '' | tr ' ' '#')" "$finished" "$goal"
}
finished=0 failed=0 line=
exec 3< <(exec "${tied[@]}" "$programs/resq-client" "${client[@]}" --sub Completed Error --since "${head:-0}" --json 2>/dev/null)
feed=$!
bar
while kill -0 "$daemon" 2>/dev/null; do
  IFS= read -r -t 1 line <&3 || continue
  finished=$((finished + 1))
  [ ! -t 1 ] || printf '\r\033[K'
  case $line in
    *'"state":"Error"'*)
      failed=$((failed + 1))
      printf 'failed     %s: %s\n' "$(text res_name)" "$(text last_error)" ;;
    *) printf 'done       %s in database %s\n' "$(text res_name)" "$(text db_name)" ;;
  esac
  bar
  [ "$finished" != "$goal" ] ||
    printf '\nAll %d resources are finished, %d of them with an error. resqd waits for more; Ctrl-C stops it.\n\n' "$goal" "$failed"
done
finish
