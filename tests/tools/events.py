"""Follows the event stream at URL with sseclient-py, over any number of restarts, and prints the data of each event as one line
until there were COUNT. Resumes as an EventSource does: after the last id that it has seen."""

import json
import sys
import time

import requests
import sseclient

url, count = sys.argv[1], int(sys.argv[2])
last_id, log = None, None

while count > 0:
    try:
        headers = {"Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        with requests.get(url, stream=True, headers=headers, timeout=20) as answer:
            answer.raise_for_status()
            for event in sseclient.SSEClient(answer).events():
                if event.event == "resq/log":
                    now = json.loads(event.data)["log_id"]
                    assert log in (None, now), "the log was replaced"
                    log = now
                    continue
                assert event.event != "gap", event.data
                last_id = event.id or last_id
                print(event.data, flush=True)
                count -= 1
                if count == 0:
                    break
    except requests.exceptions.RequestException:
        pass
    time.sleep(0.1)
