#!/usr/bin/env bash
# certificates.sh DIR server NAME…   a certificate for resqd under these host names and addresses: DIR/server.pem, server.key
# certificates.sh DIR client NAME    a certificate for one client: DIR/NAME.pem, NAME.key
# The first call makes a private authority, DIR/ca.pem and ca.key, which signs them. Clients need ca.pem; ca.key never leaves
# this machine. They are valid for DAYS (825), the authority for ten years.
set -euo pipefail

usage() { sed -n '2,3s/^# /usage: /p' "$0" >&2; exit 2; }
[ $# -ge 3 ] || usage
dir=$1 kind=$2; shift 2
mkdir -p "$dir"
umask 077

make_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

if [ ! -e "$dir/ca.pem" ]; then
  make_key "$dir/ca.key"
  openssl req -x509 -new -key "$dir/ca.key" -out "$dir/ca.pem" -days 3650 \
    -subj "/CN=resq private authority $(openssl rand -hex 4)" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
  chmod 644 "$dir/ca.pem"
fi

names=
for name in "$@"; do
  # An address is one of IPv6, with a colon, or of IPv4: digits and dots.
  case $name in
    *:*) names=$names,IP:$name ;;
    *[!0-9.]*) names=$names,DNS:$name ;;
    *) names=$names,IP:$name ;;
  esac
done
case $kind in
  server) file=$dir/server usage=serverAuth ;;
  client) [ $# -eq 1 ] || usage; file=$dir/$1 usage=clientAuth ;;
  *) usage ;;
esac
# Written beside the old ones and then renamed, so that a running resqd never reads half of one.
make_key "$file.key.new"
openssl req -new -key "$file.key.new" -subj "/CN=$1" |
  openssl x509 -req -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -set_serial "0x$(openssl rand -hex 16)" -days "${DAYS:-825}" \
    -extfile <(printf '%s\n' basicConstraints=CA:FALSE keyUsage=digitalSignature extendedKeyUsage=$usage \
      subjectKeyIdentifier=hash authorityKeyIdentifier=keyid subjectAltName=${names#,}) \
    -out "$file.pem.new" 2>/dev/null
chmod 644 "$file.pem.new"
mv "$file.key.new" "$file.key"
mv "$file.pem.new" "$file.pem"
echo "$file.pem and $file.key: for $*, valid until $(openssl x509 -noout -enddate -in "$file.pem" | cut -d= -f2)"
