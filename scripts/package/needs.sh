# Sourced by the scripts that make packages.
# shellcheck shell=bash

# Installs PACKAGE... unless PROGRAM is there. Only root can; others get the command.
needs() { # PROGRAM PACKAGE...
  local program=$1
  shift
  ! command -v "$program" >/dev/null || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "$program is needed; install it:  sudo apt-get install $*" >&2
    exit 1
  fi
  echo "installing $*" >&2
  export DEBIAN_FRONTEND=noninteractive
  install_packages() { apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$@" </dev/null >/dev/null; }
  install_packages "$@" 2>/dev/null || { apt-get -qq update >&2 && install_packages "$@"; } # a fresh machine has no lists yet
}

# Installs Rust's standard library for TARGET, unless it is there.
has_target() { # TARGET
  [ -d "$(rustc --print sysroot)/lib/rustlib/$1" ] || rustup -q target add "$1" || {
    echo "Rust's standard library for $1 is needed:  rustup target add $1" >&2
    exit 1
  }
}
