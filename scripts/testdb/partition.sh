#!/usr/bin/env bash
# partition.sh: cuts a node of a cluster off from the others, while clients still reach all of them.
#
#   partition.sh fetch KIND   fetches what the others and a server of KIND need: there is no way out of a private network
#   partition.sh prepare      makes this network namespace, which must not be the system's, ready for servers and for cuts
#   partition.sh cut DIR N    cuts node N of the cluster that testdb.sh keeps in DIR off
#   partition.sh heal         lets all nodes reach each other again
#
# Works by routing rules for the ports that the nodes use among themselves. Needs root; uses the host's ip and ss
# (iproute2), or unpacks them into a cache.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
die() { echo "partition.sh: $*" >&2; exit 1; }
# shellcheck source=/dev/null
. "$here/testdb/programs.sh"

cache=${TESTDB_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/resq-servers}/iproute2
export PATH=$PATH:/usr/sbin:/sbin:$cache/root/usr/bin:$cache/root/usr/sbin

fetch() { # KIND
  kind=$1 find_programs
  command -v ip >/dev/null && command -v ss >/dev/null || "$here/testdb/fetch.sh" iproute2 "$cache"
}

prepare() {
  [ "$(readlink /proc/self/ns/net)" != "$(readlink /proc/1/ns/net)" ] || die "this is the system's own network"
  ip link set lo up
  # The rule that finds local addresses makes room for others before it.
  ip rule add pref 100 lookup local
  ip rule del pref 0
}

cut() { # DIR N
  local base pid own peer
  base=$(cat "$1/base") pid=$(cat "$1/n$2/pid")
  # New connections between the others are refused as well, so those that they have are let through.
  connections $((base + 4)) $((base + 15)) "$pid" | while read -r own peer; do
    ip rule add pref 10 ipproto tcp sport "$own" dport "$peer" lookup local
  done
  ip rule add pref 20 ipproto tcp dport $((base + 4))-$((base + 15)) unreachable
  ip rule add pref 20 ipproto tcp sport $((base + 4))-$((base + 15)) unreachable
}

# Both ports of each connection by these ports whose two ends both belong to the process, or both do not.
connections() { # FIRST LAST PID
  ss -Htnp state established | awk -v first="$1" -v last="$2" -v owner="pid=$3," '
    function port(address) { sub(/.*:/, "", address); return address + 0 }
    function is_inner(number) { return number >= first && number <= last }
    { own = port($3); peer = port($4); if (is_inner(own) || is_inner(peer)) is_its[own " " peer] = index($0, owner) > 0 }
    END {
      for (ports in is_its) {
        split(ports, port_of, " ")
        back = port_of[2] " " port_of[1]
        if (back in is_its && is_its[ports] == is_its[back]) print ports
      }
    }'
}

heal() {
  local pref
  for pref in 20 10; do
    while ip rule del pref "$pref" 2>/dev/null; do :; done
  done
}

case ${1:-},$# in
  fetch,2) fetch "$2" ;;
  prepare,1) prepare ;;
  cut,3) cut "$2" "$3" ;;
  heal,1) heal ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d' >&2; exit 2 ;;
esac
