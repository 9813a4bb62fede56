"""Publishes and subscribes with websockets: websockets_client.py URL"""

import asyncio
import json
import sys

import websockets

from telling import hear, say

URL = sys.argv[1].replace("http", "ws") + "/websocket"


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
                position = hear(frame, position)
        except websockets.ConnectionClosed:
            pass


asyncio.run(main())
