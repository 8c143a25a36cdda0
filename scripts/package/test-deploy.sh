#!/usr/bin/env bash
# test-deploy.sh: checks scripts/deploy/ against the schemas of Compose and Kubernetes, that every variable in it is one of
# resq's, and that the unit's sandbox is as tight as systemd's rating says it was (1.6). Installs the checkers of the schemas
# into a folder of its own, by pip.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/package/needs.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -c 'import ensurepip' 2>/dev/null || needs ensurepip python3-venv # not a program: always installed
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" --quiet --disable-pip-version-check install 'check-jsonschema>=0.30' 'kubernetes-validate>=1.30'
"$dir/venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec scripts/deploy/compose.yaml
"$dir/venv/bin/kubernetes-validate" --strict scripts/deploy/kubernetes.yaml

for name in $(grep -ohE '\b(MYSQL|RESQ)_[A-Z_]+' scripts/deploy/*.yaml | sort -u); do
  grep -q "Some(\"$name\")" src/config/settings.rs || { echo "test-deploy.sh: no setting has the variable $name" >&2; exit 1; }
done
needs systemd-analyze systemd
mkdir -p "$dir/usr/lib/systemd/system"
sed 's,@PREFIX@,/usr,g' scripts/resqd.service >"$dir/usr/lib/systemd/system/resqd.service"
systemd-analyze security --offline=true --threshold=16 --root="$dir" --no-pager resqd.service >"$dir/security" ||
  { cat "$dir/security" >&2; exit 1; }
tail -1 "$dir/security"

echo "deploy: everything as it should be"
