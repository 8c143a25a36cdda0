#!/usr/bin/env bash
# test.sh all [KIND...]      every check and every test, the end-to-end tests once on each KIND of server
# test.sh e2e [KIND...]      only the end-to-end tests
# test.sh faults [KIND...]   only the fault tests, FAULT_ROUNDS times each
# test.sh screenshots        pictures of the dashboard
# KIND is one of testdb.sh (default: mariadb1011, or the host's own server if apt-get is missing). KIND:WORD,WORD runs only
# the end-to-end tests with one of the words in their path.
set -euo pipefail
cd "$(dirname "$0")/.."

what=$1
shift
[ $# -gt 0 ] || set -- "$(command -v apt-get >/dev/null && echo mariadb1011 || echo local)"

# The tests must not depend on database settings of the caller's shell.
for name in "${!MYSQL_@}" "${!RESQ_@}"; do case $name in RESQ_SEED | RESQ_COMMIT) ;; *) unset "$name" ;; esac; done

step() { printf '\n== %s\n' "$*"; "$@"; }

lints() { # MANIFEST
  if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then
    step cargo fmt --check --all --manifest-path "$1"
    step cargo clippy --release --locked --workspace --all-targets --all-features --manifest-path "$1" -- -D warnings
  elif [ "${CI:-}" = true ]; then
    echo "rustfmt and clippy are needed: rustup component add rustfmt clippy" >&2
    exit 1
  else
    echo "skipping format and lints; to check them: rustup component add rustfmt clippy" >&2
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

# The end-to-end tests mostly wait, so more of them run at a time than there are processors.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(getconf _NPROCESSORS_ONLN)))}

if [ "$what" = screenshots ]; then
  export SCREENSHOTS=${SCREENSHOTS:-$PWD/target/screenshots}
  TEST_SERVER=$1 step cargo test --release --locked --test e2e -- --ignored dashboard::screenshots
  cp "$SCREENSHOTS"/{overview-light,jobs-dark}.png docs/images/ # those in the README
  exit
fi

# The servers under test load these.
step cargo build --release --locked --manifest-path udf/Cargo.toml --lib --examples
failed=()
if [ "$what" = all ]; then # desktop notifications are a feature that is off by default: a resq-client of its own
  step cargo build --release --locked --no-default-features --features toast --bin resq-client
  target=${CARGO_TARGET_DIR:-target}/release
  mkdir -p "$target/toast" && cp "$target/resq-client" "$target/toast/"
  TOAST_CLIENT=$(realpath "$target/toast/resq-client")
  export TOAST_CLIENT
  step cargo test --release --locked --no-default-features --features toast --lib -- toast:: || failed+=(toast)
fi
for kind; do
  [ "$what" != faults ] || kind=${kind%%:*}:faults::
  word=${kind#"${kind%%:*}"}
  IFS=, read -ra words <<<"${word#:}"
  case $kind in galera* | group*) clusters="--include-ignored --skip in_full" ;; *) clusters= ;; esac
  [ "$what$word$clusters" != all ] || TEST_SERVER=$kind step cargo test --release --locked --lib -- --ignored || failed+=("$kind")
  TEST_SERVER=${kind%%:*} step cargo test --release --locked --test e2e -- "${words[@]}" $clusters || failed+=("$kind")
done
[ $# = 1 ] || echo "end-to-end: $# kinds of server, failed: ${failed[*]:-none}"
[ ${#failed[@]} = 0 ]
