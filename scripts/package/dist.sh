#!/usr/bin/env bash
# dist.sh: puts everything of a release, built before by `make dist`, into target/dist with checksums: the source, the Debian
# packages, the static programs, the image, and the clients for Windows.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
arch=$(uname -m)
out=target/dist
made=$(git log -1 --format=%cI)
archive() { # FILE FOLDER NAME...   the same bytes at every build
  tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="$made" --transform "s,^\./,resq-$version/," -C "$2" -c "${@:3}" |
    gzip -9n >"$out/$1"
}

git diff --quiet HEAD || { echo "dist.sh: commit first; a release is made from a commit" >&2; exit 1; }
grep -q "^## $version (" docs/CHANGELOG.md || { echo "dist.sh: docs/CHANGELOG.md has no entry for $version" >&2; exit 1; }
rm -rf "$out"
mkdir -p "$out"
git archive --format=tar --prefix="resq-$version/" HEAD | gzip -9n >"$out/resq-$version.tar.gz"
cp target/package/*"_${version}_"*.deb "$out/"
static=target/$arch-unknown-linux-musl/release
archive "resq-$version-$arch-linux-static.tar.gz" "$static" ./resqd ./resqctl ./resq-client ./resq-trigger
archive "resq-$version-$arch-image.tar.gz" target/package/image .
archive "resq-$version-x86_64-windows.tar.gz" target/x86_64-pc-windows-gnu/release ./resq-client.exe ./resq-trigger.exe
(cd "$out" && sha256sum -- * >SHA256SUMS && cat SHA256SUMS)
