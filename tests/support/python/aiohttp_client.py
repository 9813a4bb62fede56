"""Publishes with aiohttp, and follows an event stream or a WebSocket: aiohttp_client.py URL sse|websocket"""

import asyncio
import sys

import aiohttp

from telling import hear, say

URL, TRANSPORT = sys.argv[1:]


async def stream(session, position):
    """Follows an event stream to its end. Gives the position."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": position}
    fields = {}
    timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
    params = {"name": "x", "seq": "0"}
    try:
        async with session.get(
            URL + "/subscribe", params=params, headers=headers, timeout=timeout, raise_for_status=True
        ) as response:
            async for line in response.content:
                name, _, value = line.decode().rstrip("\n").partition(":")
                fields[name] = value.removeprefix(" ")
                if line == b"\n":
                    if "data" in fields:
                        position = fields["id"]
                        say(fields.get("event", "message"), fields["data"])
                    fields = {}
    except aiohttp.ClientError:
        pass
    return position


async def socket(session, position):
    """Follows a WebSocket to its end. Gives the position."""
    try:
        async with session.ws_connect(
            URL + "/websocket", protocols=["river.v1"], heartbeat=20
        ) as websocket:
            await websocket.send_json(["sub", {"channel": "x", "seq": position or 0}])
            async for frame in websocket:
                position = hear(frame.data, position)
    except aiohttp.ClientError:
        pass
    return position


async def main():
    follow = {"sse": stream, "websocket": socket}[TRANSPORT]
    async with aiohttp.ClientSession() as session:
        for body in ({"data": {"name": "x", "data": "a form"}}, {"json": {"name": "x", "data": "JSON"}}):
            async with session.post(URL + "/publish", raise_for_status=True, **body) as response:
                await response.json()
        position = ""
        while True:
            position = await follow(session, position)
            await asyncio.sleep(0.2)


asyncio.run(main())
