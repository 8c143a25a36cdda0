#!/usr/bin/env bash
# static.sh: builds the programs with musl, linked statically, so that they run on any Linux of this architecture, with or
# without a C library. They are in target/ARCH-unknown-linux-musl/release; PROFILE=dev builds them without optimisation.
# The allocator of musl is slower than that of glibc: for the highest throughput use `make build`.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/package/needs.sh
target=$(uname -m)-unknown-linux-musl

needs musl-gcc musl-tools
has_target "$target"
cargo build --profile "${PROFILE:-release}" --locked --bins --target "$target"
