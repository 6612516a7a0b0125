"""The receiver answers and records every request, however its bytes come."""

import asyncio

import pytest

from benchmarks.payload import STAMP_BYTES, Payloads, sent_at
from benchmarks.receiver import Connection, Record


class _Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data


def _request(id: str, path: str, size: int = 100) -> bytes:
    body = Payloads(size).now()
    head = f"POST {path} HTTP/1.1\r\nWebhook-Id: {id}\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("piece", [1, 7, 150, 10_000])
def test_requests_are_recorded_and_answered_however_they_are_cut(piece: int) -> None:
    record = Record()
    wire = _Wire()
    connection = Connection(record)
    connection.connection_made(wire)
    data = _request("msg_1", "/ok/3") + _request("msg_2", "/fail/14", 5_000)
    for start in range(0, len(data), piece):
        connection.data_received(data[start : start + piece])
    assert [(id, endpoint) for id, endpoint, _ in record.arrivals] == [("msg_1", 3), ("msg_2", 14)]
    assert all(0 <= microseconds < 60_000_000 for _, _, microseconds in record.arrivals)
    assert wire.written.count(b"HTTP/1.1 200 OK\r\n") == 1
    assert wire.written.index(b" 200 ") < wire.written.index(b" 500 ")


def test_a_request_is_not_answered_before_all_of_it_has_come() -> None:
    wire = _Wire()
    connection = Connection(Record())
    connection.connection_made(wire)
    data = _request("msg_1", "/ok/0")
    connection.data_received(data[:-1])
    assert wire.written == b""
    connection.data_received(data[-1:])
    assert wire.written.startswith(b"HTTP/1.1 200 OK\r\n")


def test_only_what_was_taken_counts_as_delivered() -> None:
    record = Record()
    record.note("msg_1", 0, 1_000, 5_000, taken=True)
    record.note("msg_2", 1, 1_000, 9_000, taken=False)
    assert record.last_delivered_at == 5_000
    assert record.arrivals == [("msg_1", 0, 4), ("msg_2", 1, 8)]


@pytest.mark.parametrize("size", [50, 1_024, 350 * 1024])
def test_a_payload_has_the_size_that_was_asked_for_and_carries_its_time(size: int) -> None:
    body = Payloads(size).now()
    assert len(body) == size
    assert body.startswith(b'{"sent_at":')
    assert sent_at(b"head" + body[:STAMP_BYTES], 4) == int(body[11:30])
