#!/usr/bin/env bash
# demo-migrate.sh: what `make demo-migrate` runs after the build. Builds 60 databases by one template, changes the template,
# proves the migration (first a wrong one), rolls it out, and shows what each command prints; one database is spoiled
# beforehand, so the rollout halts, is mended and goes on. The server is private and removed at the end; SERVER is a kind of
# testdb.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
programs=${CARGO_TARGET_DIR:-$PWD/target}/release
unset "${!MYSQL_@}" "${!RESQ_@}"
dir=$(mktemp -d)
pid=
finish() {
  [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
  wait 2>/dev/null || true
  scripts/testdb.sh remove "$dir/server" >/dev/null 2>&1 || true
  rm -rf "$dir"
}
trap finish EXIT

say() { printf '\n== %s\n' "$*"; }
run() { # ARGUMENTS: shows the command, as one would type it, and what it prints
  local word
  printf '$ resqctl'
  for word; do case $word in *' '*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac; done
  echo
  "$programs/resqctl" "$@" 2>&1
}
must_fail() { if run "$@"; then echo "demo-migrate.sh: this should have failed" >&2 && exit 1; fi; }

say "A private server"
node=$(scripts/testdb.sh up "${SERVER:-local}" "$dir/server")
read -r port socket _ <<<"$node"
export RESQ_CONFIG=$dir/resq.toml
mkdir -p "$dir/sql/res_db" "$dir/sql/res_tables/shop" "$dir/sql/res_migrations/shop"
printf '[database]\nsocket = "%s"\nport = %s\n[broker]\nlisten = "127.0.0.1:0"\n[http]\nlisten = []\n[sql]\ndir = "%s"\n' \
  "$socket" "$port" "$dir/sql" >"$RESQ_CONFIG"
echo 'CREATE DATABASE {{RES_DB_NAME}} CHARACTER SET utf8mb4' >"$dir/sql/res_db/010_database.sql"
template=$dir/sql/res_tables/shop/010_products.sql
migration=$dir/sql/res_migrations/shop/0001_currency.sql
echo 'CREATE TABLE products (id INT PRIMARY KEY, price DECIMAL(10,2) NOT NULL)' >"$template"
"$programs/resqctl" init >/dev/null
"$programs/resqd" >"$dir/resqd.log" 2>&1 &
pid=$!

say "60 shops, built by today's template"
run seed --count 60 --type shop --prefix shop
run wait --timeout 60

say "The template changes: products get a currency"
echo "CREATE TABLE products (id INT PRIMARY KEY, price DECIMAL(10,2) NOT NULL, currency CHAR(3) NOT NULL DEFAULT 'EUR')" >"$template"
echo 'ALTER TABLE products ADD currency CHAR(3) NOT NULL' >"$migration"
run migrate plan
say "The migration forgets the default: that is found before any database is touched"
must_fail migrate start --yes
say "Corrected"
echo "ALTER TABLE products ADD currency CHAR(3) NOT NULL DEFAULT 'EUR'" >"$migration"
run reload
run migrate verify

say "In one of the shops an administrator has added the column by hand"
sql=("$(cat "$dir/server/client")" --no-defaults -uroot -S "$socket")
"${sql[@]}" -e 'ALTER TABLE res_shop_1_40.products ADD currency INT'
run migrate start --wave 20 --reason 'prices in several currencies' --yes
must_fail migrate wait 1 --timeout 60
run migrate status 1
say "Mended, and tried again"
"${sql[@]}" -e 'ALTER TABLE res_shop_1_40.products DROP currency'
run migrate retry 1
run migrate wait 1 --timeout 60
run migrate plan
run databases --outdated
run audit --limit 3
