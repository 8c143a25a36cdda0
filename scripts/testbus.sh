#!/usr/bin/env bash
# testbus.sh DIR: runs a private D-Bus session bus on the socket DIR/bus until it is killed, for the tests of desktop
# notifications. Uses the host's dbus-daemon, or unpacks one into a cache.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$1

if ! daemon=$(command -v dbus-daemon); then
  cache=${TESTDB_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/resq-servers}/dbus
  "$here/testdb/fetch.sh" dbus "$cache"
  daemon=$cache/root/usr/bin/dbus-daemon
fi
cat >"$dir/bus.conf" <<CONF
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=$dir/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
CONF
exec "$daemon" --config-file="$dir/bus.conf" --nofork --print-address
