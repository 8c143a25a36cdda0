#!/usr/bin/env bash
# check-targets.sh: type-checks and lints the programs that only talk to resqd, for Windows and macOS. Skips a target, with
# a message, if its standard library is neither installed nor available from rustup.
set -euo pipefail
cd "$(dirname "$0")/.."

# Nothing is linked, so that a dependency's C code (rustls's ring) needs no compiler for the target: its library is empty.
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
cat >"$tools/cc" <<'EOF'
#!/bin/sh
[ "$1" != -E ] || echo gcc # the question which compiler it is
EOF
cat >"$tools/ar" <<'EOF'
#!/bin/sh
: >"$2"
EOF
chmod +x "$tools"/*

check() { # TARGET FEATURE
  if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$1" ] && ! timeout 120 rustup -q target add "$1" >/dev/null 2>&1; then
    echo "NOT type-checked for $1: its standard library is not installed; run: rustup target add $1" >&2
    return
  fi
  printf '\n== type-check for %s\n' "$1"
  env "CC_${1//-/_}=$tools/cc" "AR_${1//-/_}=$tools/ar" \
    cargo clippy --release --locked --target "$1" --no-default-features --features "$2" \
      --lib --bin resq-client --bin resq-trigger -- -D warnings
}

check x86_64-pc-windows-gnu toast
check aarch64-apple-darwin client # without toast, which needs Apple's headers
