#!/usr/bin/env bash
# dist.sh: puts everything of a release, built before by `make dist`, into target/dist with checksums: the source, the Debian
# packages, the static programs, the image, and the clients for Windows.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
arch=$(uname -m)
out=target/dist
stage=target/package/programs
made=$(git log -1 --format=%cI)
archive() { # FILE FOLDER NAME...   the same bytes at every build
  tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="$made" --transform "s,^\./,resq-$version/," -C "$2" -c "${@:3}" |
    gzip -9n >"$out/$1"
}
programs() { # FILE STRIP PROGRAM...   without what only debuggers read
  rm -rf "$stage"
  mkdir -p "$stage"
  cp "${@:3}" "$stage/"
  "$2" "$stage"/*
  local names=("${@:3}")
  names=("${names[@]##*/}")
  archive "$1" "$stage" "${names[@]/#/./}"
}

git diff --quiet HEAD || { echo "dist.sh: commit first; a release is made from a commit" >&2; exit 1; }
grep -q "^## $version (" docs/CHANGELOG.md || { echo "dist.sh: docs/CHANGELOG.md has no entry for $version" >&2; exit 1; }
rm -rf "$out"
mkdir -p "$out"
git archive --format=tar --prefix="resq-$version/" HEAD | gzip -9n >"$out/resq-$version.tar.gz"
cp target/package/*"_${version}_"*.deb "$out/"
programs "resq-$version-$arch-linux-static.tar.gz" strip \
  target/"$arch"-unknown-linux-musl/release/{resqd,resqctl,resq-client,resq-trigger}
archive "resq-$version-$arch-image.tar.gz" target/package/image .
programs "resq-$version-x86_64-windows.tar.gz" x86_64-w64-mingw32-strip \
  target/x86_64-pc-windows-gnu/release/{resq-client,resq-trigger}.exe
(cd "$out" && sha256sum -- * >SHA256SUMS && cat SHA256SUMS)
