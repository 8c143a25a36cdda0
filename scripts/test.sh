#!/usr/bin/env bash
# test.sh all [KIND...]   every check and every test; the end-to-end ones once on each KIND of server
# test.sh e2e [KIND...]   the end-to-end tests alone
# test.sh faults [KIND...]   of these the faults, FAULT_ROUNDS times each
# KIND as in testdb.sh; by default MariaDB as packaged, or the host's own server where packages can't be had.
# KIND:WORD runs only the tests with WORD in their path there.
set -euo pipefail
cd "$(dirname "$0")/.."

what=$1
shift
[ $# -gt 0 ] || set -- "$(command -v apt-get >/dev/null && echo mariadb1011 || echo local)"

# The tests say what they mean; what the caller's shell says about databases is not for them.
for name in "${!MYSQL_@}" "${!RESQ_@}"; do [ "$name" = RESQ_SEED ] || unset "$name"; done

step() { printf '\n== %s\n' "$*"; "$@"; }

lints() { # MANIFEST
  if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then
    step cargo fmt --check --all --manifest-path "$1"
    step cargo clippy --release --locked --workspace --all-targets --all-features --manifest-path "$1" -- -D warnings
  elif [ "${CI:-}" = true ]; then
    echo "rustfmt and clippy are needed: rustup component add rustfmt clippy" >&2
    exit 1
  else
    echo "format and lints are not checked: rustup component add rustfmt clippy" >&2
  fi
}

if [ "$what" = all ]; then
  lints Cargo.toml
  lints udf/Cargo.toml
  ! cargo clippy --version >/dev/null 2>&1 || scripts/check-targets.sh
  step cargo test --release --locked --lib
  step cargo test --release --locked --doc
  step cargo test --release --locked --manifest-path udf/Cargo.toml
fi

# The end-to-end tests wait more than they work.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(getconf _NPROCESSORS_ONLN)))}

# The servers under test load these.
step cargo build --release --locked --manifest-path udf/Cargo.toml --lib --examples
failed=()
if [ "$what" = all ]; then # desktop notifications are a feature that is off by default
  TEST_SERVER=${1%%:*} step cargo test --release --locked --features toast --lib --test e2e -- toast:: || failed+=(toast)
fi
for kind; do
  [ "$what" != faults ] || kind=${kind%%:*}:faults::
  word=${kind#"${kind%%:*}"}
  case $kind in galera* | group*) clusters=--include-ignored ;; *) clusters= ;; esac
  [ "$what$word$clusters" != all ] || TEST_SERVER=$kind step cargo test --release --locked --lib -- --ignored || failed+=("$kind")
  TEST_SERVER=${kind%%:*} step cargo test --release --locked --test e2e -- ${word:+"${word#:}"} $clusters || failed+=("$kind")
done
[ $# = 1 ] || echo "end-to-end: $# kinds of server, failed: ${failed[*]:-none}"
[ ${#failed[@]} = 0 ]
