"""Listens with one of PyPI's libraries, and prints a line of JSON for each event:

    python listen.py LIBRARY URL TOKEN [loop]

None of them comes back after every fault; with `loop` it is in the loop that does.
"""

import asyncio
import json
import sys
import time


class Refused(Exception):
    """Asking again would not help."""


def heard(event_id, data):
    print(json.dumps({"id": event_id, "data": data}), flush=True)


def failed(error, closed=False):
    print(json.dumps({"error": f"{type(error).__name__}: {error}", "closed": closed}), flush=True)


class Place:
    """The reader's place: what a browser keeps between its connections."""

    def __init__(self):
        self.last, self.pause = "", 1.0

    def headers(self):
        return {"Last-Event-ID": self.last} if self.last else {}

    def move(self, event_id, retry_ms):
        self.last = event_id or self.last
        self.pause = retry_ms / 1000 if retry_ms else self.pause


def with_httpx_sse(url, headers, place):
    import httpx
    from httpx_sse import SSEError, connect_sse

    try:
        with (
            httpx.Client(timeout=httpx.Timeout(10, read=45)) as client,
            connect_sse(client, "GET", url, headers=headers | place.headers()) as source,
        ):
            for event in source.iter_sse():
                place.move(event.id, event.retry)
                if event.event == "message":
                    heard(event.id, event.data)
    except SSEError as error:
        raise Refused(error) from error
    except httpx.TransportError as error:
        raise ConnectionError(error) from error


def with_sseclient(url, headers, place):
    import requests
    import sseclient

    headers = headers | place.headers() | {"Accept": "text/event-stream"}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=(10, 45)) as response:
            if response.status_code == 401:
                raise Refused(response.text)
            for event in sseclient.SSEClient(response).events():
                place.move(event.id, event.retry and int(event.retry))
                if event.event == "message":
                    heard(event.id, event.data)
    except requests.RequestException as error:
        raise ConnectionError(error) from error


def with_aiohttp_sse_client2(url, headers, place):
    import aiohttp
    from aiohttp_sse_client2.client import EventSource

    async def listen():
        timeout = aiohttp.ClientTimeout(total=None, sock_read=45)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            EventSource(url, headers=headers | place.headers(), session=session) as source,
        ):
            async for event in source:
                place.move(event.last_event_id, None)
                if event.type in (None, "message"):
                    heard(event.last_event_id, event.data)

    try:
        asyncio.run(listen())
    except ConnectionRefusedError as error:
        raise (ConnectionError if isinstance(error.errno, int) else Refused)(error) from error  # or the library's own
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ConnectionError(error) from error


LIBRARIES = {
    "httpx-sse": with_httpx_sse,
    "sseclient-py": with_sseclient,
    "aiohttp-sse-client2": with_aiohttp_sse_client2,
}


def main():
    name, url, token, *loop = sys.argv[1:]
    listen, place = LIBRARIES[name], Place()
    while True:
        try:
            listen(url, {"Authorization": f"Bearer {token}"}, place)
        except Refused as error:
            return failed(error, closed=True)
        except ConnectionError as error:
            failed(error, closed=not loop)
        if not loop:
            return failed(EOFError("it ended"), closed=True)
        time.sleep(place.pause)


main()
