"""How a response is read: the same in whatever pieces it comes."""

import pytest
from octohooks_server.delivery.response import NotHttp, Response, ResponseReader

OK = b"HTTP/1.1 200 OK\r\n"

WHOLE = {
    "plain": (OK + b"content-length: 3\r\n\r\nabc", b"abc"),
    "empty": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "chunks": (
        OK + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n",
        b"abc",
    ),
    "trailers": (OK + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-t: 1\r\n\r\n", b"a"),
    "after_interim_ones": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
        + OK
        + b"content-length: 1\r\n\r\na",
        b"a",
    ),
    "lines_without_cr": (b"HTTP/1.1 200 OK\ncontent-length: 1\n\na", b"a"),
    "without_a_reason": (b"HTTP/1.1 200\r\ncontent-length: 1\r\n\r\na", b"a"),
}


def read(*pieces: bytes) -> Response | None:
    """The response in these pieces; None when it is not whole."""
    reader = ResponseReader()
    for piece in pieces:
        reader.feed(piece)
    return reader.response() if reader.is_whole else None


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


@pytest.mark.parametrize("name", WHOLE)
def test_a_response_is_read_the_same_in_whatever_pieces_it_comes(name: str) -> None:
    data, body = WHOLE[name]
    at_once = read(data)
    assert at_once is not None
    assert (at_once.status // 100, at_once.body, at_once.truncated) == (2, body, False)
    assert read(*byte_by_byte(data)) == at_once
    assert all(read(data[:place], data[place:]) == at_once for place in range(1, len(data)))


@pytest.mark.parametrize("name", WHOLE)
def test_a_response_is_whole_with_its_last_byte_and_not_before(name: str) -> None:
    data, _ = WHOLE[name]
    assert read(*byte_by_byte(data[:-1])) is None


def test_interim_responses_leave_no_headers_behind() -> None:
    response = read(WHOLE["after_interim_ones"][0])
    assert response is not None
    assert response.headers == (("content-length", "1"),)


def test_trailers_are_not_taken_for_headers() -> None:
    response = read(WHOLE["trailers"][0])
    assert response is not None
    assert response.headers == (("transfer-encoding", "chunked"),)


def test_a_header_that_goes_on_in_the_next_line_is_read_as_one() -> None:
    response = read(OK + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n")
    assert response is not None
    assert response.headers[0] == ("x", "a b")


def test_a_body_of_the_largest_size_is_whole_and_one_byte_more_is_cut() -> None:
    for size, truncated in ((16_384, False), (16_385, True)):
        response = read(*byte_by_byte(OK + b"\r\n"), b"x" * size) or read_to_the_end(size)
        assert (len(response.body), response.truncated) == (16_384, truncated)


def read_to_the_end(size: int) -> Response:
    reader = ResponseReader()
    reader.feed(OK + b"\r\n" + b"x" * size)
    assert reader.feed_end()
    return reader.response()


def test_one_response_after_the_other_is_read_from_the_same_connection() -> None:
    reader = ResponseReader()
    reader.feed(OK + b"x: 1\r\ncontent-length: 1\r\n\r\na")
    assert reader.keeps_alive
    reader.begin()
    reader.feed(b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n")
    assert reader.response() == Response(500, (("content-length", "0"),), b"", False)


@pytest.mark.parametrize(
    "data",
    [
        OK + b"connection: close\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    ],
    ids=["close", "http_1_0"],
)
def test_no_other_response_follows(data: bytes) -> None:
    reader = ResponseReader()
    assert reader.feed(data)
    assert not reader.keeps_alive


def test_a_second_response_that_nobody_asked_for_changes_nothing_and_is_the_last() -> None:
    reader = ResponseReader()
    second = b"HTTP/1.1 500 Oh\r\nx: 1\r\ncontent-length: 1\r\n\r\nb"
    assert reader.feed(OK + b"content-length: 1\r\n\r\na" + second)
    assert reader.response() == Response(200, (("content-length", "1"),), b"a", False)
    assert not reader.keeps_alive


@pytest.mark.parametrize("head", [OK, OK + b"transfer-encoding: identity\r\n"])
def test_the_end_of_the_connection_ends_a_body_that_does_not_say_its_end(head: bytes) -> None:
    reader = ResponseReader()
    assert not reader.feed(head + b"\r\nabc")
    assert reader.feed_end()
    assert reader.response().body == b"abc"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        OK,
        OK + b"content-length: 3\r\nconnection: close\r\n\r\nab",
        OK + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_a_response_that_breaks_off_is_not_whole(data: bytes) -> None:
    reader = ResponseReader()
    if data:
        reader.feed(data)
    assert not reader.feed_end()


@pytest.mark.parametrize(
    "data",
    [
        OK + b"content-length: 2\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
)
def test_what_is_no_http_behind_a_response_takes_nothing_from_it(data: bytes) -> None:
    """In one piece with it as in another one."""
    for pieces in ([data + b"0\r\n\r\n"], [data, b"0\r\n\r\n"]):
        reader = ResponseReader()
        for piece in pieces:
            assert reader.feed(piece)
        assert reader.response().status in (200, 204)


def test_no_content_that_announces_some_is_refused_by_its_head() -> None:
    with pytest.raises(NotHttp):
        read(b"HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\n")
    assert read(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n") is not None


@pytest.mark.parametrize("line", [b"transfer-encoding: chunked ", b"transfer-encoding:chunked\t"])
def test_chunks_that_break_off_are_not_whole_however_they_were_announced(line: bytes) -> None:
    reader = ResponseReader()
    assert not reader.feed(OK + line + b"\r\n\r\n5\r\nab")
    assert not reader.feed_end()


def test_more_than_a_hundred_headers_are_refused() -> None:
    lines = b"".join(b"x-%d: 1\r\n" % number for number in range(101))
    assert read(OK + lines[: lines.rindex(b"x-100")] + b"\r\n") is None
    with pytest.raises(NotHttp):
        read(OK + lines + b"\r\n")


def test_a_head_of_more_than_64_kib_is_refused_before_it_ends() -> None:
    with pytest.raises(NotHttp):
        read(OK + b"x: ", *[b"a" * 1024] * 65)


def test_what_is_far_longer_than_any_response_that_is_kept_is_a_flood() -> None:
    reader = ResponseReader()
    reader.feed(OK + b"transfer-encoding: chunked\r\n\r\n1;")
    for _ in range(256):
        assert not reader.is_flood
        reader.feed(b"a" * 1024)
    assert reader.is_flood
