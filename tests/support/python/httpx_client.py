"""Publishes with httpx, and follows an event stream: httpx_client.py URL"""

import sys
import time

import httpx

from telling import say

URL = sys.argv[1]


def events(lines):
    """The fields of each event that has data."""
    fields = {}
    for line in lines:
        name, _, value = line.rstrip("\n").partition(":")
        if line.strip() == "":
            if "data" in fields:
                yield fields
            fields = {}
        elif name == "data" and "data" in fields:
            fields["data"] += "\n" + value.removeprefix(" ")
        elif name != "":
            fields[name] = value.removeprefix(" ")


def follow(position):
    headers = {"Accept": "text/event-stream", "Last-Event-ID": position}
    while True:
        try:
            with httpx.stream(
                "GET", URL + "/subscribe", params={"name": "x", "seq": 0}, headers=headers,
                timeout=httpx.Timeout(5, read=60),
            ) as response:
                response.raise_for_status()
                for event in events(response.iter_lines()):
                    headers["Last-Event-ID"] = event["id"]
                    say(event.get("event", "message"), event["data"])
        except httpx.HTTPError:
            pass
        time.sleep(0.2)


httpx.post(URL + "/publish", data={"name": "x", "data": "a form"}).raise_for_status()
httpx.post(URL + "/publish", json={"name": "x", "data": "JSON"}).raise_for_status()
follow("")
