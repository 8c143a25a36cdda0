#!/usr/bin/env bash
# testpython.sh ARG...: Python with the packages of tests/tools/requirements.txt, for tests. They are installed once, with their
# hashes checked, into a folder of their own in a cache.
set -euo pipefail
list=$(cd "$(dirname "$0")/.." && pwd)/tests/tools/requirements.txt
cache=${TESTDB_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/resq-servers}
version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
dir=$cache/python-$version-$(sha256sum "$list" | cut -c1-12)

mkdir -p "$dir"
exec 8>"$dir/lock"
flock 8
if [ ! -f "$dir/.done" ]; then
  echo "installing $list into $dir (once)" >&2
  rm -rf "$dir/root"
  python3 -m venv "$dir/root"
  "$dir/root/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement "$list"
  touch "$dir/.done"
fi
exec 8>&-
exec "$dir/root/bin/python" "$@"
