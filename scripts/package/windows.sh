#!/usr/bin/env bash
# windows.sh: cross-builds resq-client.exe and resq-trigger.exe, with desktop notifications, into
# target/x86_64-pc-windows-gnu/release; PROFILE=dev builds them without optimisation.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/package/needs.sh
target=x86_64-pc-windows-gnu

needs x86_64-w64-mingw32-gcc gcc-mingw-w64-x86-64-win32
has_target "$target"
cargo build --profile "${PROFILE:-release}" --locked --target "$target" --no-default-features --features toast \
  --bin resq-client --bin resq-trigger
