#!/usr/bin/env bash
# testtool.sh PROGRAM [ARG...]: runs mandoc, zsh or fish for the tests of manual pages and completions, or mariadb-dump for
# those of backups. Uses the host's, or one that it unpacks into a cache.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if ! command -v "$1" >/dev/null; then
  kind=tools
  [ "$1" != mariadb-dump ] || kind=mariadb-dump
  cache=${TESTDB_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/resq-servers}/$kind
  "$here/testdb/fetch.sh" "$kind" "$cache"
  PATH=$PATH:$cache/root/usr/bin
fi
exec "$@"
