#!/bin/sh
# seed.sh [COUNT [OPTION...]]: enqueues COUNT (20) test resources by `resqctl seed`, for use in cron.
#
# It needs nothing from its environment, never runs twice at once, ends within five minutes and prints one line: what it
# enqueued, or, on standard error and with a status other than 0, why it failed. OPTIONs are passed to resqctl seed. The
# settings are those of resqctl: /etc/resq/resq.toml, or RESQ_CONFIG.
#   RESQCTL  program to use (default: the one installed or built with this script, else the one in PATH)
set -u
PATH=/usr/local/bin:/usr/bin:/bin${PATH:+:$PATH}
export PATH
here=$(cd "$(dirname "$0")" && pwd)

say() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) seed: $*"; }
fail() { status=$1; shift; say "$@" >&2; exit "$status"; }

find_resqctl() {
  for program in "${RESQCTL:-}" "$here/../../bin/resqctl" "$here/../target/release/resqctl"; do
    [ ! -x "$program" ] || { echo "$program"; return; }
  done
  command -v resqctl
}
resqctl=$(find_resqctl) || fail 1 "no resqctl found: install resq, or set RESQCTL to the program"

# The script's own file serves as the lock: no file is left behind, and the lock ends with the process.
exec 9<"$0"
flock -w 10 9 || fail 1 "another run has held the lock for 10 s; nothing was enqueued"

count=${1:-20}
[ $# = 0 ] || shift
output=$(timeout 300 "$resqctl" seed --count "$count" "$@" 2>&1 </dev/null 9<&-)
status=$?
output=$(printf %s "$output" | tr -s '\n' ' ')
case $status in
  0) say "$output" ;;
  124) fail 124 "no answer within 300 s: $output" ;;
  *) fail "$status" "failed ($status): $output" ;;
esac
