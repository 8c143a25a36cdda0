# Builds clusters from single nodes. Sourced by testdb.sh. Clients use the ports base + 0..2, the nodes use the ports after
# those among themselves.
# shellcheck shell=bash disable=SC2034,SC2154

galera_node() { # N OPTION...
  local n=$1 p=$((base + 4 * $1)) evs
  # A killed node is expelled after 2 s instead of 5; with less, a busy machine loses running nodes.
  evs="evs.suspect_timeout=PT2S;evs.inactive_timeout=PT5S;evs.inactive_check_period=PT0.2S;evs.keepalive_period=PT0.2S"
  shift
  mkdir -p "$dir/n$n/data" # the others fill the data folder of a joining node
  PATH=$usr/bin:$PATH start "$n" $(galera_position "$n") --wsrep-on=ON \
    --wsrep-provider="$usr/lib/galera/libgalera_smm.so" --wsrep-cluster-name=resq \
    --wsrep-cluster-address="gcomm://127.0.0.1:$((base + 4)),127.0.0.1:$((base + 8)),127.0.0.1:$((base + 12))" \
    --wsrep-node-name="n$n" --wsrep-node-address="127.0.0.1:$p" --wsrep-node-incoming-address="127.0.0.1:$((base + n - 1))" \
    --wsrep-provider-options="gmcast.listen_addr=tcp://127.0.0.1:$p;ist.recv_addr=127.0.0.1:$((p + 1));gcache.size=32M;$evs" \
    --wsrep-sst-method=rsync --wsrep-sst-receive-address="127.0.0.1:$((p + 2))" \
    --log-bin-trust-function-creators=1 --binlog-format=ROW --innodb-autoinc-lock-mode=2 --wsrep-slave-threads=2 \
    --gtid-domain-id="1$n" "$@"
  wait_for 120 "node $n to be synced" galera_synced "$n"
}
# The position of a killed node, so that it is sent only what it missed: a full transfer would block the sending node.
galera_position() { # N
  [ -f "$dir/n$1/data/grastate.dat" ] || return 0
  "$server" "${options[@]}" --datadir="$dir/n$1/data" --tmpdir="$dir/n$1/tmp" --port=0 --socket="$dir/n$1/recover.sock" \
    --wsrep-on=ON --wsrep-provider="$usr/lib/galera/libgalera_smm.so" --wsrep-cluster-address=gcomm:// --binlog-format=ROW \
    --wsrep-recover </dev/null 2>&1 8>&- 9>&- |
    sed -n 's/.*WSREP: Recovered position: *\([0-9a-f-]*:[0-9]*\).*/--wsrep-start-position=\1/p' | tail -1
}
galera_synced() {
  [ "$(sql "$1" "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'wsrep_local_state_comment'")" = Synced ]
}

group_node() { # N OPTION...
  local n=$1 p=$((base + 4))
  start "$n" --server-id="$n" --gtid-mode=ON --enforce-gtid-consistency=ON --log-bin=binlog --binlog-row-metadata=FULL \
    --report-host=127.0.0.1 --report-port=$((base + n - 1)) --plugin-load-add=group_replication.so \
    --loose-group-replication-group-name=aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee --loose-group-replication-start-on-boot=OFF \
    --loose-group-replication-local-address=127.0.0.1:$((p + n)) \
    --loose-group-replication-group-seeds=127.0.0.1:$((p + 1)),127.0.0.1:$((p + 2)),127.0.0.1:$((p + 3)) \
    --loose-group-replication-single-primary-mode=OFF --loose-group-replication-recovery-get-public-key=ON \
    --loose-group-replication-member-expel-timeout=0 "${@:2}"
}
group_join() { # N [first]
  if [ "${2:-}" = first ]; then
    sql "$1" "SET GLOBAL group_replication_bootstrap_group = ON; START GROUP_REPLICATION;
      SET GLOBAL group_replication_bootstrap_group = OFF"
  fi
  (wait_for 120 "node $1 to be online" group_try "$1") || { tail -n 3 "$dir/n$1/join.err" >&2; exit 1; }
}
# The group refuses a killed node as long as it still lists it as a member (3092).
group_try() {
  group_online "$1" && return
  sql "$1" "START GROUP_REPLICATION" 2>"$dir/n$1/join.err" || return
  group_online "$1"
}
group_online() {
  [ "$(sql "$1" "SELECT member_state FROM performance_schema.replication_group_members WHERE member_id = @@server_uuid")" = ONLINE ]
}
group_prepare() { # N: creates the account with which a joining node fetches what it missed
  sql "$1" "SET sql_log_bin = 0;
    CREATE USER IF NOT EXISTS recovery@'%' IDENTIFIED BY 'recovery';
    GRANT REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN, GROUP_REPLICATION_STREAM ON *.* TO recovery@'%';
    SET sql_log_bin = 1;
    CHANGE REPLICATION SOURCE TO SOURCE_USER = 'recovery', SOURCE_PASSWORD = 'recovery' FOR CHANNEL 'group_replication_recovery'"
}
