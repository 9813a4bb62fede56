"""What the clients in this folder have in common: they tell the test what they got."""

import json


def say(*words):
    print(json.dumps(words), flush=True)


def hear(frame, position):
    """Tells what the lines of a frame of river.v1 say. Gives the position after them."""
    for line in filter(None, frame.split("\n")):
        kind, fields = json.loads(line)
        if kind == "open":
            position = fields["cursor"]
        elif kind == "gap":
            position = f"{fields['epoch']}-{fields['to']}"
            say("gap", json.dumps(fields))
        elif kind == "msg":
            position = f"{position.split('-')[0]}-{fields['seq']}"
            say("message", fields["data"])
    return position
