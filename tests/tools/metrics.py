"""Reads the metrics at URL with the parsers of Prometheus' own Python client, as plain text and as OpenMetrics; prints each
family and its type as one line of JSON. Fails where a parser refuses a text, or a name breaks a convention."""

import json
import sys
import urllib.request

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as plain

FORMATS = [("text/plain", plain), ("application/openmetrics-text", openmetrics)]


def families(url, accept, parser):
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.headers["Content-Type"].startswith(accept), answer.headers["Content-Type"]
        text = answer.read().decode("utf-8")
    found = {family.name: family for family in parser.text_string_to_metric_families(text)}
    assert found, "no metric"
    for name, family in found.items():
        assert family.documentation.endswith("."), f"{name}: no sentence describes it"
        assert family.type != "histogram" or name.endswith("_seconds"), f"{name}: a time that is not in seconds"
        for sample in family.samples:
            assert family.type != "counter" or sample.name.endswith("_total"), f"{sample.name}: a counter"
    return {name: family.type for name, family in found.items()}


both = [families(sys.argv[1], accept, parser) for accept, parser in FORMATS]
assert both[0] == both[1], "the formats differ"
print(json.dumps(both[0]))
