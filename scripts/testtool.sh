#!/usr/bin/env bash
# testtool.sh PROGRAM [ARG...]: runs a program that tests need: mandoc, zsh, fish, mariadb-dump, chromium, chromedriver. Uses
# the host's, or one that it unpacks into a cache.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if ! command -v "$1" >/dev/null; then
  case $1 in
    mariadb-dump) kind=mariadb-dump ;;
    chromium | chromedriver) kind=browser ;;
    *) kind=tools ;;
  esac
  cache=${TESTDB_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/resq-servers}/$kind
  "$here/testdb/fetch.sh" "$kind" "$cache"
  PATH=$PATH:$cache/root/usr/bin
  if [ "$1" = chromium ]; then # starts itself again, which the wrapper in usr/bin cannot
    export LD_LIBRARY_PATH=$(echo "$cache"/root/usr/lib/*-linux-gnu*)
    PATH=$cache/root/usr/lib/chromium:$PATH
  fi
fi
exec "$@"
