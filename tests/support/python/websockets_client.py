"""Publishes and subscribes with websockets: websockets_client.py URL"""

import asyncio
import json
import sys

import websockets

URL = sys.argv[1].replace("http", "ws") + "/websocket"


def say(*words):
    print(json.dumps(words), flush=True)


async def main():
    async with websockets.connect(URL + "?name=x") as plain:
        await plain.send("a form")
        await plain.send("JSON")
        await plain.recv()
        await plain.recv()
    position = 0
    # Comes back by itself after the connection was lost.
    async for websocket in websockets.connect(URL, subprotocols=["river.v1"]):
        try:
            await websocket.send(json.dumps(["sub", {"channel": "x", "seq": position}]))
            async for frame in websocket:
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
        except websockets.ConnectionClosed:
            pass


asyncio.run(main())
