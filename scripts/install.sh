#!/usr/bin/env bash
# install.sh install|uninstall: copies what was built, and the pages that the programs print, to $DESTDIR$PREFIX, or removes
# exactly those files. It builds nothing, so it needs no cargo, and `sudo make install` leaves no files owned by root in target/.
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob

prefix=${PREFIX:-/usr/local}
root=${DESTDIR:-}$prefix
target=${CARGO_TARGET_DIR:-target}/release
udf=${CARGO_TARGET_DIR:-udf/target}/release/libresq_udf.so

files() { # prints one line per file: MODE SOURCE DESTINATION
  local program file
  for program in resqd resqctl resq-client resq-trigger; do echo "755 $target/$program bin/$program"; done
  echo "755 scripts/seed.sh libexec/resq/seed.sh"
  echo "755 scripts/certificates.sh libexec/resq/certificates.sh"
  echo "644 scripts/resqd.service lib/systemd/system/resqd.service"
  for file in README.md docs/*.md docs/images/*; do echo "644 $file share/doc/resq/$file"; done
  echo "644 LICENSE share/doc/resq/LICENSE"
  # The templates, as a starting point for a sql.dir.
  for file in sql/res_db/*.sql sql/res_tables/*.sql sql/res_tables/*/*.sql; do echo "644 $file share/resq/$file"; done
  for file in scripts/grants*.sql; do echo "644 $file share/resq/${file##*/}"; done
  for file in scripts/monitoring/*; do echo "644 $file share/resq/monitoring/${file##*/}"; done
  echo "755 $udf lib/resq/libresq_udf.so"
  echo "755 udf/install.sh lib/resq/install.sh"
  for file in udf/*.sql; do echo "644 $file lib/resq/${file##*/}"; done
}

# The manual pages and completions, which the programs print: one line per file, PROGRAM WHAT DESTINATION.
pages() {
  local program
  for program in resqd resqctl resq-client resq-trigger; do
    case $program in resqd) echo "$program man share/man/man8/$program.8" ;; *) echo "$program man share/man/man1/$program.1" ;; esac
    echo "$program bash share/bash-completion/completions/$program"
    echo "$program zsh share/zsh/site-functions/_$program"
    echo "$program fish share/fish/vendor_completions.d/$program.fish"
  done
  echo "resqd settings-man share/man/man5/resq.toml.5"
  echo "resqd settings-file share/resq/resq.toml"
}

case ${1:-} in
  install)
    for program in resqd resqctl resq-client resq-trigger; do
      [ -x "$target/$program" ] || { echo "$target/$program is missing: run \`make build\` first" >&2; exit 1; }
    done
    [ -f "$udf" ] || echo "the loadable functions are not built and not installed; \`make udf\` builds them" >&2
    files | while read -r mode source destination; do
      [ -f "$source" ] || continue
      install -D -m "$mode" "$source" "$root/$destination"
    done
    pages | while read -r program what destination; do
      "$target/$program" --generate "$what" | install -D -m 644 /dev/stdin "$root/$destination"
    done
    sed -i "s,@PREFIX@,$prefix,g" "$root/lib/systemd/system/resqd.service"
    echo "installed below $root" ;;
  uninstall)
    { files; pages; } | while read -r _ _ destination; do rm -f "$root/$destination"; done
    # The folders that belong to resq, deepest first, if they are empty now.
    for folder in libexec/resq lib/resq share/doc/resq share/resq; do
      [ ! -d "$root/$folder" ] || find "$root/$folder" -depth -type d -empty -delete
    done
    echo "uninstalled from $root" ;;
  *) echo "usage: install.sh install|uninstall" >&2; exit 2 ;;
esac
