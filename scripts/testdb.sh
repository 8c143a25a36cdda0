#!/usr/bin/env bash
# testdb.sh: runs private database servers on loopback, each in its own folder, with root and no password.
#
#   testdb.sh up KIND DIR     start the server of DIR, or reuse the one that runs there
#   testdb.sh hold KIND DIR   the same, then wait until standard input ends, stop the server and remove DIR
#   testdb.sh node DIR N      restart node N after it was killed
#   testdb.sh down DIR        stop the servers of DIR; keep the data
#   testdb.sh remove DIR      stop the servers of DIR and remove DIR
#
# KIND: mysql97 | mariadb1011 | mariadb105 (no SKIP LOCKED) | galera | group (three nodes each), unpacked from the
#   distribution's packages into a cache without installing anything; or local, the host's own mysqld or mariadbd.
#   KIND-hostile: a single server whose every default is as far from the usual one as it may be.
# up, hold and node print one line per node: PORT SOCKET PID. DIR/plugin is the plugin folder, and DIR/client holds the
# path of the command-line client.
# ARGS="--x=y ..." is passed to every node; FAST=1 turns fsync off, for tests that do not simulate a power failure;
# TESTDB_CACHE is the folder of the unpacked programs.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() { echo "testdb.sh: $*" >&2; exit 1; }
usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
for part in programs node cluster hostile; do
  # shellcheck source=/dev/null
  . "$here/testdb/$part.sh"
done

node_count() { case $kind in galera | group) echo 3 ;; *) echo 1 ;; esac; }

print_node() { echo "$(cat "$dir/n$1/port") $(cat "$dir/n$1/socket") $(cat "$dir/n$1/pid")"; }

# Reserves a block of 16 ports below the ephemeral range. The servers inherit the lock on the block's file, so the block is
# reserved exactly as long as one of them runs.
take_ports() {
  local locks port free
  locks=/tmp/resq-ports-$(id -u)
  mkdir -m 700 "$locks" 2>/dev/null || [ -O "$locks" ] || die "$locks belongs to someone else"
  if [ -f "$dir/base" ]; then
    base=$(cat "$dir/base")
    exec 9>"$locks/$base"
    flock -n 9 || [ -n "${1:-}" ] && return
  fi
  for _ in $(seq 200); do
    base=$((16000 + 16 * (RANDOM % 1000))) free=1
    exec 9>"$locks/$base"
    flock -n 9 || continue
    for port in $(seq "$base" $((base + 15))); do
      ! (exec 7<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { free=; break; }
    done
    [ -z "$free" ] || { echo "$base" >"$dir/base"; return; }
  done
  die "no free ports found"
}

up() {
  local n nodes=3
  nodes=$(node_count)
  [ ! -f "$dir/kind" ] || [ "$(cat "$dir/kind")" = "$kind" ] || die "$dir contains a server of kind $(cat "$dir/kind"); remove it first"
  for n in $(seq "$nodes"); do running "$n" || break; done
  if ! running "$n"; then
    find_programs
    down # if only some nodes of a cluster run
    mkdir -p "$dir/plugin"
    echo "$kind" >"$dir/kind"
    [ -z "$hostile" ] || touch "$dir/hostile"
    echo "$client" >"$dir/client"
    for plugin in "$usr"/lib/mysql/plugin/*.so; do [ ! -e "$plugin" ] || ln -sf "$plugin" "$dir/plugin/"; done
    set_options
    [ -f "$dir/ready" ] || { rm -rf "$dir"/n?; init_data 1; }
    take_ports
    undo=${undo:-down} # a start that fails leaves nothing running
    case $kind in
      galera) galera_node 1 --wsrep-new-cluster; galera_node 2; galera_node 3 ;;
      group)
        if [ ! -f "$dir/ready" ]; then
          rm -f "$dir/n1/data/auto.cnf"
          for n in 2 3; do mkdir "$dir/n$n" && cp -a "$dir/n1/data" "$dir/n$n/data"; done
        fi
        for n in 1 2 3; do group_node "$n"; group_prepare "$n"; done
        group_join 1 first; group_join 2; group_join 3 ;;
      *) start 1 ;;
    esac
    touch "$dir/ready"
  fi
  for n in $(seq "$nodes"); do print_node "$n"; done
}

node() { # N
  find_programs
  set_options
  ! running "$1" || die "node $1 of $dir is already running"
  take_ports same
  case $kind in
    galera) galera_node "$1" ;;
    # Read-only until it has joined, as with group_replication_start_on_boot: a commit before would keep it out of the group.
    group) group_node "$1" --super-read-only; group_join "$1" ;;
    *) start "$1" ;;
  esac
  print_node "$1"
}

down() { # the first node last, since a cluster is started from it again
  local n
  for n in 3 2 1; do [ ! -d "$dir/n$n" ] || stop "$n"; done
}

remove() {
  down
  local socket
  for socket in "$dir"/n*/socket; do
    [ ! -f "$socket" ] || case $(cat "$socket") in /tmp/resq-??????/sock) rm -rf "$(dirname "$(cat "$socket")")" ;; esac
  done
  rm -rf "$dir"
}

verb=${1:-}
case $verb,$# in up,3 | hold,3) kind=$2 dir=$3 ;; node,3 | down,2 | remove,2) dir=$2 ;; *) usage ;; esac
[ "$verb" = up ] || [ "$verb" = hold ] || [ -d "$dir" ] || { [ "$verb" != node ] && exit 0; die "folder $dir does not exist"; }
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
[ "$verb" = node ] && kind=$(cat "$dir/kind")
hostile=
case ${kind:-} in *-hostile) hostile=1 kind=${kind%-hostile} ;; esac
undo=
trap '${undo:-:}' EXIT
exec 8>"$dir/lock" # one call at a time in a folder
flock 8
case $verb in
  up) up; undo= ;;
  hold) trap : INT TERM HUP; undo=remove; up; exec 8>&-; cat >/dev/null || true ;;
  node) node "$3" ;;
  down) down ;;
  remove) remove ;;
esac
