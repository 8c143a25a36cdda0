#!/usr/bin/env bash
# deb.sh [DIR]: makes the Debian packages resq and resq-udf in DIR (target/package) from what `make build udf` built.
#   VERSION            version of the packages (that of Cargo.toml)
#   SOURCE_DATE_EPOCH  time of the files and of the changelog (the commit's)
# As root it installs dpkg-dev if that is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=scripts/package
out=${1:-target/package}
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
maintainer='The resq developers <resq@packages.invalid>'

. "$here/needs.sh"
needs dpkg-shlibdeps dpkg-dev
arch=$(dpkg --print-architecture)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$out"

# What `make install` installs, in the places where Debian wants it.
PREFIX=/usr DESTDIR=$stage/resq scripts/install.sh install >/dev/null
for folder in DEBIAN usr/lib/resq usr/share/doc/resq-udf; do mkdir -p "$stage/resq-udf/$folder"; done
cd "$stage/resq"
[ -f usr/lib/resq/libresq_udf.so ] || { echo "deb.sh: run \`make udf\` first" >&2; exit 1; }
mv usr/lib/resq/* ../resq-udf/usr/lib/resq/
rmdir usr/lib/resq
mkdir -p DEBIAN etc/resq usr/share/zsh/vendor-completions
mv usr/share/resq/resq.toml etc/resq/resq.toml
mv usr/share/zsh/site-functions/* usr/share/zsh/vendor-completions/
rm -r usr/share/zsh/site-functions usr/share/doc/resq/LICENSE
gzip -9n usr/share/man/*/*
strip --strip-unneeded usr/bin/* ../resq-udf/usr/lib/resq/*.so
chmod 644 ../resq-udf/usr/lib/resq/*.so
chmod 640 etc/resq/resq.toml
cd "$OLDPWD"
install -m 644 "$here/README.Debian" "$stage/resq/usr/share/doc/resq/"
for script in postinst prerm postrm; do install -m 755 "$here/$script" "$stage/resq/DEBIAN/"; done
echo /etc/resq/resq.toml >"$stage/resq/DEBIAN/conffiles"

# The C libraries that the files of a package need, as dpkg-shlibdeps knows them.
libraries() { # FOLDER FILE...
  local folder=$1
  shift
  mkdir -p "$stage/debian"
  : >"$stage/debian/control"
  (cd "$stage" && dpkg-shlibdeps -O "${@/#/$folder/}" 2>/dev/null) | sed 's/^shlibs:Depends=//'
}

package() { # NAME DEPENDS SUGGESTS DESCRIPTION
  local doc=$stage/$1/usr/share/doc/$1
  cat >"$doc/copyright" <<COPYRIGHT
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: resq

Files: *
Copyright: 2026 The resq developers
License: Expat
$(sed '1,/^$/d; s/^$/./; s/^/ /' LICENSE)
COPYRIGHT
  gzip -9n >"$doc/changelog.gz" <<CHANGES
resq ($version) unstable; urgency=medium

  * What changed is in docs/CHANGELOG.md of the package resq.

 -- $maintainer  $(date -uRd "@$SOURCE_DATE_EPOCH")
CHANGES
  cat >"$stage/$1/DEBIAN/control" <<CONTROL
Package: $1
Source: resq
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -sk --exclude=DEBIAN "$stage/$1" | cut -f1)
Depends: $2
Suggests: $3
Section: database
Priority: optional
$4
CONTROL
  (cd "$stage/$1" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
  find "$stage/$1" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
  dpkg-deb --root-owner-group --build "$stage/$1" "$out/$1_${version}_$arch.deb" >/dev/null
  echo "$out/$1_${version}_$arch.deb"
}

package resq "adduser, $(libraries resq usr/bin/resqd usr/bin/resqctl usr/bin/resq-client usr/bin/resq-trigger)" \
  "default-mysql-server | virtual-mysql-server, resq-udf" "Description: work queue and change feed in a MySQL or MariaDB table
 resqd runs beside a MySQL or MariaDB server. It builds a database for every
 row that an application inserts into a queue, and delivers committed changes
 to subscribers within milliseconds, in order and without gaps.
 .
 resqctl sets up, inspects and repairs the queue; resq-client subscribes to
 events, and resq-trigger publishes them."
package resq-udf "$(libraries resq-udf usr/lib/resq/libresq_udf.so)" \
  "default-mysql-server | virtual-mysql-server, resq" "Description: work queue and change feed in a table (loadable functions)
 Functions for a MySQL or MariaDB server, by which a committed row wakes resqd
 at once instead of at its next poll.
 .
 The package changes no server: run /usr/lib/resq/install.sh to load the
 functions into one."
