#!/usr/bin/env bash
# fetch.sh KIND DIR: unpacks the server programs of one kind into DIR/root, from the distribution's packages.
#
# apt uses its own folder for lists, cache and status, so nothing is installed on the host and no privilege is needed;
# signatures and hashes are checked as usual. Every unpacked program is replaced by a wrapper that starts the real one with
# the folder's own loader and libraries, so that a newer server runs on an older host and DIR can be moved.
set -euo pipefail

kind=$1 dir=$2
bare=() host_libc=
case $kind in
  mysql97)     suite=sid      packages=(mysql-server-core mysql-client-core) ;;
  mariadb1011) suite=bookworm packages=(mariadb-server-core mariadb-client-core) ;;
  # Runs on the host's newer C library, so that it can load a function built on the host.
  mariadb105)  suite=bullseye packages=(mariadb-server-core-10.5 mariadb-client-core-10.5) host_libc=1 ;;
  # The two bare packages are for the replication plugin and the state transfer scripts, without their dependencies.
  galera)      suite=bookworm packages=(mariadb-server-core mariadb-client-core rsync lsof) bare=(galera-4 mariadb-server) ;;
  # mariadb-dump, for the tests of backups, without the dependencies of the other programs beside it.
  mariadb-dump) suite=bookworm packages=(mariadb-client-core) bare=(mariadb-client) ;;
  # Not a database, but the session bus for the tests of desktop notifications.
  dbus)        suite=bookworm packages=(dbus-daemon) ;;
  # Libraries of a newer Wine than the host's, which lacks bcryptprimitives.dll.
  wine)        suite=trixie   packages=() bare=(libwine) ;;
  # For the tests of manual pages and completions.
  tools)       suite=bookworm packages=(mandoc zsh fish) ;;
  # For the check of the alert rules.
  promtool)    suite=bookworm packages=() bare=(prometheus) ;;
  # ip and ss, for the tests of a cluster's partition.
  iproute2)    suite=bookworm packages=(iproute2) ;;
  # For the tests of the dashboard. Runs on the host's C library.
  browser)     suite=bookworm packages=(chromium chromium-driver fonts-dejavu-core) host_libc=1 ;;
  *) echo "fetch.sh: unknown kind '$kind'" >&2; exit 2 ;;
esac

mkdir -p "$dir"
exec 8>"$dir/lock"
flock 8
[ ! -f "$dir/.done" ] || exit 0
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || {
  echo "fetch.sh: fetching $kind needs apt-get; use the kind 'local' with an installed server instead" >&2
  exit 1
}
echo "fetching $kind into $dir (once)" >&2
rm -rf "$dir/apt" "$dir/root"
apt=$dir/apt root=$dir/root arch=$(dpkg --print-architecture)
mkdir -p "$apt"/{lists/partial,cache/archives/partial} "$root"

# The host's own mirror, from either format of apt's sources.
mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } |
  sed -En 's/#.*//; s!.*(https?://[^ ]*/debian)/?( .*)?$!\1!p' | head -1)
[ -n "$mirror" ] || { echo "fetch.sh: /etc/apt names no Debian mirror; use the kind 'local' with an installed server instead" >&2; exit 1; }
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [arch=$arch signed-by=$keys] $mirror $suite main" >"$apt/sources.list"
: >"$apt/status"
cat >"$apt/apt.conf" <<CONF
Dir::Etc::SourceList "$apt/sources.list"; Dir::Etc::SourceParts "-";
Dir::Etc::Preferences "/dev/null"; Dir::Etc::PreferencesParts "/dev/null";
Dir::State "$apt"; Dir::State::Lists "$apt/lists"; Dir::State::status "$apt/status"; Dir::Cache "$apt/cache"; Dir::Log "$apt";
APT::Sandbox::User ""; APT::Install-Recommends "false"; APT::Architectures { "$arch"; };
Acquire::Languages "none"; Acquire::Retries "3"; Acquire::Check-Valid-Until "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
CONF
export APT_CONFIG=$apt/apt.conf DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq -y --download-only install "${packages[@]}" >/dev/null
[ ${#bare[@]} = 0 ] || (cd "$apt/cache/archives" && apt-get -qq download "${bare[@]}")
[ -z "$host_libc" ] || rm -f "$apt"/cache/archives/{libc6,libgcc-s1,libstdc++6,libcrypt1}_*.deb
for deb in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$deb" "$root"; done
rm -rf "$apt"

# Older suites have parts in /lib and /bin: move them into /usr, where newer suites have everything.
for part in lib lib64 bin sbin; do
  [ -d "$root/$part" ] && [ ! -L "$root/$part" ] || continue
  mkdir -p "$root/usr/$part"
  cp -a "$root/$part/." "$root/usr/$part/"
  rm -rf "${root:?}/$part"
done

libs=$(cd "$root/usr/lib" && echo *-linux-gnu*)
# The suite's own loader, else the host's. A missing folder is no error.
loader=$({ find "$root/usr/lib" "$root/usr/lib64" -name 'ld-linux*.so.*' 2>/dev/null || true; } | head -1)
[ -n "$loader" ] || loader=$({ find /lib64/ /lib/ -maxdepth 1 -name 'ld-linux*.so.*' 2>/dev/null || true; } | head -1)
case $loader in "$root"/*) loader=../${loader#"$root/usr/"} ;; esac
mkdir -p "$root/usr/ld" # links to the loader under each program's name, which is the name that ps and the scripts see
for program in "$root"/usr/{bin,sbin}/*; do
  [ -f "$program" ] && [ ! -L "$program" ] && [ "$(head -c4 "$program" | tr -d '\0')" = $'\x7fELF' ] || continue
  name=${program##*/} folder=${program%/*}
  mv "$program" "$program.real"
  ln -s "$loader" "$root/usr/ld/$name"
  printf '#!/bin/sh\nusr=${0%%/*}/..\nexec "$usr/ld/%s" --library-path "$usr/lib/%s" "$usr/%s/%s.real" "$@"\n' \
    "$name" "$libs" "${folder##*/}" "$name" >"$program"
  chmod +x "$program"
done
# As root, the rsync of the state transfer would switch to the user nobody, which may not write the data folder.
sst=$root/usr/bin/wsrep_sst_rsync
[ ! -f "$sst" ] || [ "$(id -u)" != 0 ] || sed -i 's/^use chroot = no$/&\nuid = root\ngid = root/' "$sst"
touch "$dir/.done"
