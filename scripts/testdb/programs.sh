# Finds the programs of a server of $kind, unpacked into the cache or the host's own. Sourced by testdb.sh; sets $server,
# $client, $usr (the folder with their share/ and lib/) and $options. Never starts a server.
# shellcheck shell=bash disable=SC2034,SC2154

find_programs() {
  local cache=${TESTDB_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/resq-servers} suite=$kind
  case $kind in
    local) find_local; return ;;
    group) suite=mysql97 ;;
    mysql97 | mariadb1011 | mariadb105 | galera) ;;
    *) die "unknown kind '$kind' (mysql97, mariadb1011, mariadb105, galera, group, local)" ;;
  esac
  case $cache in
    *[[:space:]]*) die "the servers' scripts accept no path with spaces; set TESTDB_CACHE to a folder other than '$cache'" ;;
  esac
  "$here/testdb/fetch.sh" "$suite" "$cache/$suite"
  usr=$cache/$suite/root/usr
  case $kind in
    mysql97 | group) server=$usr/sbin/mysqld client=$usr/bin/mysql ;;
    *) server=$usr/sbin/mariadbd client=$usr/bin/mariadb ;;
  esac
}

find_local() {
  export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
  local packages="mariadb-server-core mariadb-client-core"
  if ! server=$(command -v mariadbd || command -v mysqld); then
    command -v apt-get >/dev/null || die "no mariadbd or mysqld in PATH; install MariaDB or MySQL"
    [ "$(id -u)" = 0 ] || die "no mariadbd or mysqld in PATH; install one:  sudo apt-get install $packages"
    echo "installing $packages" >&2
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # a list of packages
    install_packages() { apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends $packages </dev/null >/dev/null; }
    install_packages 2>/dev/null || { apt-get -qq update >&2 && install_packages; } # a fresh machine has no lists yet
    server=$(command -v mariadbd)
  fi
  client=$(command -v mariadb || command -v mysql || true)
  usr=$(cd "$(dirname "$server")/.." && pwd)
}

is_mariadb() { case $("$server" --no-defaults --version 2>/dev/null) in *MariaDB*) ;; *) false ;; esac; }

set_options() {
  options=(--no-defaults --basedir="$usr" --bind-address=127.0.0.1 --plugin-dir="$dir/plugin" --innodb-buffer-pool-size="${POOL:-256M}")
  [ "$(id -u)" != 0 ] || options+=(--user=root)
  if is_mariadb; then
    options+=(--innodb-log-file-size=64M)
    [ -z "${FAST:-}" ] || options+=(--innodb-flush-log-at-trx-commit=2 --innodb-doublewrite=0)
  else
    options+=(--mysqlx=OFF --secure-file-priv= --innodb-redo-log-capacity=64M)
    [ -z "${FAST:-}" ] || options+=(--innodb-flush-log-at-trx-commit=2 --sync-binlog=0 --innodb-doublewrite=OFF)
  fi
}
