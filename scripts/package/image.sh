#!/usr/bin/env bash
# image.sh: makes an OCI image from the programs of `make static`, without a container engine, in target/package/image. It
# contains the programs and an account without rights, nothing else: no shell, no package manager, no C library.
#   PROFILE=dev   from programs that were built with it
# Push it, or load it into an engine, with a tool such as skopeo:
#   skopeo copy oci:target/package/image:VERSION docker-daemon:resq:VERSION
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/package/needs.sh
needs umoci umoci
profile=${PROFILE:-release}
programs=${CARGO_TARGET_DIR:-target}/$(uname -m)-unknown-linux-musl/${profile/#dev/debug}
image=target/package/image
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
made=$(git log -1 --format=%cI 2>/dev/null || date -u +%FT%TZ)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

for program in resqd resqctl resq-client resq-trigger; do
  [ -x "$programs/$program" ] || { echo "image.sh: $programs/$program is missing: run \`make static\` first" >&2; exit 1; }
  install -D -m 755 "$programs/$program" "$stage/usr/bin/$program"
done
strip "$stage"/usr/bin/*
mkdir -p "$stage/etc/resq"
echo 'resq:x:65532:65532:resq:/:/usr/sbin/nologin' >"$stage/etc/passwd"
echo 'resq:x:65532:' >"$stage/etc/group"
install -D -m 644 LICENSE "$stage/usr/share/doc/resq/LICENSE"
chmod 755 "$stage" && find "$stage" -exec touch -hd "$made" {} +

rm -rf "$image"
mkdir -p "${image%/*}"
rootless=()
[ "$(id -u)" = 0 ] || rootless=(--rootless)
umoci init --layout "$image"
umoci new --image "$image:$version"
for part in etc usr; do umoci insert "${rootless[@]}" --image "$image:$version" "$stage/$part" "/$part"; done
umoci config --image "$image:$version" --created "$made" --author "The resq developers" \
  --config.user 65532:65532 --config.entrypoint /usr/bin/resqd --config.cmd -v \
  --config.env PATH=/usr/bin --config.exposedports 1300/tcp --config.stopsignal SIGTERM \
  --config.label org.opencontainers.image.title=resq --config.label "org.opencontainers.image.version=$version"
umoci gc --layout "$image"
echo "$image:$version"
