#!/usr/bin/env bash
# check-targets.sh: type-checks and lints the programs that only talk to resqd, for Windows and macOS. Skips a target, with
# a message, if its standard library is neither installed nor available from rustup.
set -euo pipefail
cd "$(dirname "$0")/.."

check() { # TARGET FEATURE
  if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$1" ] && ! timeout 120 rustup -q target add "$1" >/dev/null 2>&1; then
    echo "NOT type-checked for $1: its standard library is not installed; run: rustup target add $1" >&2
    return
  fi
  printf '\n== type-check for %s\n' "$1"
  cargo clippy --release --locked --target "$1" --no-default-features --features "$2" \
    --lib --bin resq-client --bin resq-trigger -- -D warnings
}

check x86_64-pc-windows-gnu toast
check aarch64-apple-darwin client # without toast, which needs Apple's C compiler
