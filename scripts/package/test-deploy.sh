#!/usr/bin/env bash
# test-deploy.sh: checks scripts/deploy/ against the schemas of Compose and Kubernetes, scripts/monitoring/ by Grafana's models
# and Prometheus' promtool, that every variable and metric in them is one of resq's, and that the unit's sandbox is as tight
# as systemd's rating says it was (1.6). Installs the checkers into folders of their own.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/package/needs.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -c 'import ensurepip' 2>/dev/null || needs ensurepip python3-venv # not a program: always installed
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" --quiet --disable-pip-version-check install 'check-jsonschema>=0.30' 'kubernetes-validate>=1.30' \
  grafana-foundation-sdk
"$dir/venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec scripts/deploy/compose.yaml
"$dir/venv/bin/kubernetes-validate" --strict scripts/deploy/kubernetes.yaml

for name in $(grep -ohE '\b(MYSQL|RESQ)_[A-Z_]+' scripts/deploy/*.yaml | sort -u); do
  grep -q "Some(\"$name\")" src/config/settings.rs || { echo "test-deploy.sh: no setting has the variable $name" >&2; exit 1; }
done

"$dir/venv/bin/python" tests/tools/grafana.py scripts/monitoring/grafana.json
cache=${TESTDB_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/resq-servers}/promtool
scripts/testdb/fetch.sh promtool "$cache"
"$cache/root/usr/bin/promtool" check rules scripts/monitoring/alerts.yml
for name in $(grep -ohE '\bresq_[a-z_]+' scripts/monitoring/* | sed -E 's/_bucket$//' | sort -u); do
  grep -qE "^\| .*\`$name[\`{]" docs/http.md || { echo "test-deploy.sh: no metric is called $name" >&2; exit 1; }
done

needs systemd-analyze systemd
mkdir -p "$dir/usr/lib/systemd/system"
sed 's,@PREFIX@,/usr,g' scripts/resqd.service >"$dir/usr/lib/systemd/system/resqd.service"
systemd-analyze security --offline=true --threshold=16 --root="$dir" --no-pager resqd.service >"$dir/security" ||
  { cat "$dir/security" >&2; exit 1; }
tail -1 "$dir/security"

echo "deploy: everything as it should be"
