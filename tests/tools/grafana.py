"""Reads a dashboard as Grafana's own models do (grafana-foundation-sdk) and writes it again. What they do not know gets lost on
that way, as in an import: it is printed, and fails."""

import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(before, after, path=""):
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after.get(key), f"{path}/{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for at, (one, other) in enumerate(zip(before, after)):
            yield from lost(one, other, f"{path}/{at}")
    elif before != after:
        yield f"{path}: {before!r} became {after!r}"


register_default_plugins()
with open(sys.argv[1], encoding="utf-8") as file:
    dashboard = json.load(file)
read = Dashboard.from_json(dashboard)
assert all(panel.targets for panel in read.panels), "a panel without a query"
found = list(lost(dashboard, json.loads(JSONEncoder().encode(read))))
print("\n".join(found) or f"{sys.argv[1]}: {len(read.panels)} panels")
sys.exit(1 if found else 0)
