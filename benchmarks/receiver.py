"""The receiver of the webhooks: a process that answers at almost no cost and keeps a record.

`/ok/NUMBER` is answered with 200 and `/fail/NUMBER` with 500, where NUMBER is that of the endpoint.
"""

import asyncio
import re
import time
from typing import Any, cast

import uvloop

from benchmarks.equipment import serve
from benchmarks.payload import STAMP_BYTES, sent_at

_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
_FAILED = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
_END_OF_HEAD = b"\r\n\r\n"
_TARGET = re.compile(rb"POST /(ok|fail)/(\d+) ")
_ID = re.compile(rb"\r\nwebhook-id: *([^\r]+)", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Record:
    """Every request that was answered: message, endpoint, microseconds since it was sent."""

    def __init__(self) -> None:
        self.arrivals: list[tuple[str, int, int]] = []
        self.last_delivered_at = 0
        # How many are left out from now on, to show that this is noticed.
        self.to_overlook = 0

    def note(self, message_id: str, endpoint: int, sent: int, now: int, *, taken: bool) -> None:
        """Takes in a request that arrived at `now`; times are nanoseconds since the epoch.

        `taken` tells whether it was answered with 200.
        """
        if self.to_overlook:
            self.to_overlook -= 1
            return
        self.arrivals.append((message_id, endpoint, (now - sent) // 1000))
        if taken:
            self.last_delivered_at = now


class Connection(asyncio.Protocol):
    """HTTP/1.1 as far as one sender speaks it: POST with a content-length, kept alive."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._begun = b""
        # Of the body that is being read: bytes that are still to come, and the answer then.
        self._missing = 0
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by type.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        now = time.time_ns()
        while data:
            if self._missing:
                taken = min(self._missing, len(data))
                self._missing -= taken
                data = data[taken:]
                if not self._missing:
                    self._transport.write(self._answer)
                continue
            data = self._begun + data
            body = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
            if body < len(_END_OF_HEAD) or len(data) < body + STAMP_BYTES:
                self._begun = data
                return
            self._begun = b""
            self._take_in(data[:body], sent_at(data, body), now)
            data = data[body:]

    def _take_in(self, head: bytes, sent: int, now: int) -> None:
        target, id, length = _TARGET.match(head), _ID.search(head), _LENGTH.search(head)
        assert target is not None
        assert id is not None
        assert length is not None
        self._missing = int(length[1])
        taken = target[1] == b"ok"
        self._answer = _OK if taken else _FAILED
        self._record.note(id[1].decode(), int(target[2]), sent, now, taken=taken)


async def _run() -> None:
    record = Record()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(record), "127.0.0.1", 0, backlog=4096)

    async def port() -> int:
        number: int = server.sockets[0].getsockname()[1]
        return number

    async def overlook(count: int) -> None:
        record.to_overlook = count

    async def take() -> dict[str, Any]:
        """What has arrived since the last time."""
        arrivals, record.arrivals = record.arrivals, []
        return {"arrivals": arrivals, "last_delivered_at": record.last_delivered_at}

    await serve({"port": port, "overlook": overlook, "take": take})


if __name__ == "__main__":
    uvloop.run(_run())
