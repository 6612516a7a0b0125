"""What receivers that attack do, and what an attempt at each of them is recorded as."""

import asyncio

from octohooks.v1.attempt_pb2 import ErrorKind

from tests.receivers import (
    Connection,
    Script,
    repeat,
    send,
    send_and_close,
    send_and_reset,
    stay_silent,
)

OK = b"HTTP/1.1 200 OK\r\n"

TIMEOUT = ErrorKind.ERROR_KIND_TIMEOUT
LOST = ErrorKind.ERROR_KIND_CONNECTION_LOST
PROTOCOL = ErrorKind.ERROR_KIND_PROTOCOL


def _in_pieces(*pieces: bytes) -> Script:
    """These bytes, with pauses so that each piece is mostly read by itself."""

    async def script(connection: Connection) -> None:
        for piece in pieces:
            await connection.write(piece)
            await asyncio.sleep(0.05)

    return script


NEVER_ENDING: dict[str, Script] = {
    "no_answer": stay_silent,
    "slow_headers": repeat(b"a", after=OK + b"x-slow: ", pause=0.01),
    "endless_headers_slowly": repeat(b"a: b\r\n", after=OK, pause=0.01),
    "dripping_body": repeat(b"a", after=OK + b"content-length: 1000\r\n\r\n", pause=0.01),
    "dripping_body_without_length": repeat(b"a", after=OK + b"\r\n", pause=0.01),
    "dripping_chunks": repeat(
        b"1\r\na\r\n", after=OK + b"transfer-encoding: chunked\r\n\r\n", pause=0.01
    ),
    "endless_100_continue": repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "endless_103_early_hints": repeat(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
    "endless_chunk_extension": repeat(
        b"a" * 65_536, after=OK + b"transfer-encoding: chunked\r\n\r\n1;"
    ),
    "endless_trailer": repeat(
        b"a" * 65_536, after=OK + b"transfer-encoding: chunked\r\n\r\n0\r\nx: "
    ),
    "missing_body": send(OK + b"content-length: 5\r\n\r\n"),
}
"""Answers that take for ever, and so end with the timeout."""

BROKEN: dict[str, tuple[Script, ErrorKind.ValueType]] = {
    "closed_without_a_word": (send_and_close(), LOST),
    "reset": (send_and_reset(), LOST),
    "closed_in_the_headers": (send_and_close(OK + b"x: "), LOST),
    "reset_in_the_headers": (send_and_reset(OK + b"x: "), LOST),
    "truncated_body": (send_and_close(OK + b"content-length: 9\r\n\r\nabc"), LOST),
    "reset_in_the_body": (send_and_reset(OK + b"content-length: 9\r\n\r\nabc"), LOST),
    "truncated_chunk": (
        send_and_close(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nabc"),
        LOST,
    ),
    "not_http": (send(b"SSH-2.0-OpenSSH_9.9\r\n"), PROTOCOL),
    "binary": (send(bytes(range(256)) * 4), PROTOCOL),
    "tls_alert": (send(b"\x15\x03\x01\x00\x02\x02\x0a"), PROTOCOL),
    "bad_status": (send(b"HTTP/1.1 20 OK\r\n\r\n"), PROTOCOL),
    "status_without_digits": (send(b"HTTP/1.1 two OK\r\n\r\n"), PROTOCOL),
    "one_huge_header": (send(OK + b"x: ", *[b"a" * 65_536] * 16), PROTOCOL),
    "a_megabyte_of_headers": (send(OK, *[b"x: aaaaaaaaaa\r\n" * 4000] * 18, b"\r\n"), PROTOCOL),
    "endless_status_line": (repeat(b"a" * 65_536, after=b"HTTP/1.1 200 "), PROTOCOL),
    "bad_chunk_size": (
        send(OK + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc"),
        PROTOCOL,
    ),
    "bad_chunk_size_later": (
        send(OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", b"zz\r\nabc"),
        PROTOCOL,
    ),
    "bad_chunk_size_after_a_pause": (
        _in_pieces(OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", b"zz\r\nabc"),
        PROTOCOL,
    ),
    "length_and_chunks": (
        send(OK + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n"),
        PROTOCOL,
    ),
    "two_lengths": (
        send(OK + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd"),
        PROTOCOL,
    ),
    "negative_length": (send(OK + b"content-length: -1\r\n\r\n"), PROTOCOL),
    "nul_in_a_header": (send(OK + b"x: a\x00b\r\ncontent-length: 0\r\n\r\n"), PROTOCOL),
    "protocol_switch": (
        send(b"HTTP/1.1 101 Yes\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nabc"),
        PROTOCOL,
    ),
    "204_with_a_body": (
        send(b"HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\nabc"),
        PROTOCOL,
    ),
}
"""Answers that are none, and the kind of error that each is."""

ENDLESS: dict[str, Script] = {
    name: repeat(b"a" * 65_536, after=OK + head + b"\r\n")
    for name, head in {
        "without_length": b"",
        "of_a_terabyte": b"content-length: 1099511627776\r\n",
        "that_says_gzip": b"content-encoding: gzip\r\n",
    }.items()
}
"""Whole heads, and bodies that never end; what is read of them is cut."""

ALL: dict[str, Script] = {
    **NEVER_ENDING,
    **{name: script for name, (script, _) in BROKEN.items()},
    **ENDLESS,
}
