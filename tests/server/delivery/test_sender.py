"""What goes out on the wire, and how an ordinary answer is read."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from octohooks.v1.attempt_pb2 import ErrorKind
from octohooks_server.rules.signing import generate_hmac_secret, signing_key
from standardwebhooks import Webhook

from tests.receivers import Connection, Receiver, respond, send, send_and_close, stay_silent
from tests.server.delivery.sending import SECRET, SHORT, Names, post, sending


async def test_a_request_holds_exactly_what_standard_webhooks_and_http_ask_for() -> None:
    time = datetime(2026, 3, 1, 12, 0, 0, 999_999, tzinfo=UTC)
    async with Receiver() as receiver, sending(clock=lambda: time) as sender:
        await post(sender, receiver.url, body=b'{"a": 1}')
        request = await receiver.next_request()
    assert request.line == "POST /hook HTTP/1.1"
    assert request.body == b'{"a": 1}'
    names = [name.lower() for name, _ in request.headers]
    assert sorted(names) == [
        "accept",
        "accept-encoding",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
    ]
    assert request.header("host") == f"127.0.0.1:{receiver.port}"
    assert request.header("content-length") == "8"
    assert request.header("content-type") == "application/json"
    assert request.header("user-agent") == "Octohooks/1.2.3"
    assert request.header("accept-encoding") == "identity"
    assert request.header("webhook-id") == "msg_01ARYZ6S41TSV4RRFFQ69G5FAV"
    assert request.header("webhook-timestamp") == str(int(time.timestamp()))


async def test_an_independent_library_verifies_the_signatures_of_every_live_secret() -> None:
    older = generate_hmac_secret(lambda count: b"o" * count)
    async with Receiver() as receiver, sending() as sender:
        keys = [signing_key(SECRET), signing_key(older)]
        await post(sender, receiver.url, body=b'{"a": 1}', keys=keys)
        request = await receiver.next_request()
    for secret in (SECRET, older):
        assert Webhook(secret).verify(request.body, dict(request.headers)) == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{ "b":1,\r\n\r\n"a" : 1.00 }\n',
        '{"name": "J\u00fcrgen \U0001f419"}'.encode(),
        b'"' + b"x" * 350 * 1024 + b'"',
    ],
)
async def test_the_payload_arrives_byte_for_byte(body: bytes) -> None:
    async with Receiver() as receiver, sending() as sender:
        exchange = await post(sender, receiver.url, body=body)
        request = await receiver.next_request()
    assert request.body == body
    assert request.header("content-length") == str(len(body))
    assert exchange.status == 200


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/a/../b//c",
        "/%2F%2f%41",
        "/?sig=a%2Bb+c%3D%26&x=[1]",
        "/;p=1?a=b?c",
    ],
)
async def test_path_and_query_go_out_as_they_were_given(target: str) -> None:
    async with Receiver() as receiver, sending() as sender:
        await post(sender, f"http://127.0.0.1:{receiver.port}{target}")
        request = await receiver.next_request()
    assert request.line == f"POST {target} HTTP/1.1"


async def test_an_endpoints_own_headers_go_along() -> None:
    headers = {"Authorization": "Bearer x", "x-name": "J\u00fcrgen", "Accept": "text/plain"}
    async with Receiver() as receiver, sending() as sender:
        await post(sender, receiver.url, headers=headers)
        request = await receiver.next_request()
    assert {name: request.header(name) for name in headers} == headers


async def test_an_endpoints_headers_cannot_replace_ours_even_if_they_were_stored() -> None:
    headers = {
        "Host": "evil.example",
        "Content-Length": "0",
        "content-type": "text/plain",
        "Content-Encoding": "gzip",
        "transfer-encoding": "chunked",
        "Connection": "close",
        "user-agent": "evil",
        "Expect": "100-continue",
        "webhook-id": "msg_evil",
        "Webhook-Signature": "v1,evil",
        "x-broken": "a\r\nx-injected: 1",
        "x-good": "1",
    }
    async with Receiver() as receiver, sending() as sender:
        exchange = await post(sender, receiver.url, body=b'{"a":1}', headers=headers)
        request = await receiver.next_request()
    assert exchange.status == 200
    assert request.body == b'{"a":1}'
    assert request.header("host") == f"127.0.0.1:{receiver.port}"
    assert request.header("content-length") == "7"
    assert request.header("content-type") == "application/json"
    assert request.header("user-agent") == "Octohooks/1.2.3"
    assert request.header("webhook-id") == "msg_01ARYZ6S41TSV4RRFFQ69G5FAV"
    assert request.header("webhook-signature") != "v1,evil"
    assert request.header("x-good") == "1"
    absent = ["content-encoding", "transfer-encoding", "connection", "expect", "x-injected"]
    assert [request.all(name) for name in absent] == [[]] * len(absent)


async def test_an_answer_is_kept_as_it_came() -> None:
    answer = respond(201, b"\x1f\x8b not unpacked", [("X-A", "1"), ("x-a", "2"), ("ETag", "")])
    async with Receiver(answer) as receiver, sending() as sender:
        exchange = await post(sender, receiver.url)
    assert exchange.status == 201
    assert exchange.body == b"\x1f\x8b not unpacked"
    assert not exchange.truncated
    assert exchange.headers[:3] == (("X-A", "1"), ("x-a", "2"), ("ETag", ""))
    assert exchange.error_kind == ErrorKind.ERROR_KIND_UNSPECIFIED
    assert exchange.error_detail == ""


async def test_an_exchange_says_when_it_began_and_how_long_it_took() -> None:
    time = datetime(2026, 3, 1, 12, tzinfo=UTC)
    async with Receiver() as receiver, sending(clock=lambda: time) as sender:
        exchange = await post(sender, receiver.url)
    assert exchange.started_at == time
    assert timedelta(0) < exchange.duration < timedelta(minutes=1)


@pytest.mark.parametrize("status", [200, 202, 204, 299])
async def test_a_two_hundred_is_no_error(status: int) -> None:
    async with Receiver(respond(status)) as receiver, sending() as sender:
        exchange = await post(sender, receiver.url)
    assert (exchange.status, exchange.error_kind) == (status, ErrorKind.ERROR_KIND_UNSPECIFIED)


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 503, 599])
async def test_any_other_status_is_told_as_it_came(status: int) -> None:
    answer = respond(status, b"why", [("retry-after", "7")])
    async with Receiver(answer) as receiver, sending() as sender:
        exchange = await post(sender, receiver.url)
    assert (exchange.status, exchange.body) == (status, b"why")
    assert exchange.error_kind == ErrorKind.ERROR_KIND_HTTP_STATUS
    assert str(status) in exchange.error_detail
    assert ("retry-after", "7") in exchange.headers


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async with Receiver() as other:
        answer = respond(status, headers=[("location", other.url)])
        async with Receiver(answer) as receiver, sending() as sender:
            exchange = await post(sender, receiver.url)
        assert other.connections == 0
        assert len(receiver.requests) == 1
    assert (exchange.status, exchange.error_kind) == (status, ErrorKind.ERROR_KIND_REDIRECT)
    assert ("location", other.url) in exchange.headers


async def test_a_body_that_the_end_of_the_connection_ends_is_whole() -> None:
    answer = send_and_close(b"HTTP/1.0 200 OK\r\n\r\nabc")
    async with Receiver(answer) as receiver, sending() as sender:
        exchange = await post(sender, receiver.url)
    assert (exchange.status, exchange.body) == (200, b"abc")


@pytest.mark.parametrize(("size", "truncated"), [(16_384, False), (16_385, True)])
async def test_sixteen_kibibytes_of_a_body_are_kept(size: int, truncated: bool) -> None:
    body = b"x" * size
    async with Receiver(respond(200, body)) as receiver, sending() as sender:
        exchange = await post(sender, receiver.url)
    assert exchange.body == body[:16_384]
    assert exchange.truncated == truncated
    assert exchange.error_kind == ErrorKind.ERROR_KIND_UNSPECIFIED


async def test_sixteen_kibibytes_of_headers_are_kept() -> None:
    headers = [(f"x-{number}", "v" * 4092) for number in range(6)]
    async with Receiver(respond(200, headers=headers)) as receiver, sending() as sender:
        exchange = await post(sender, receiver.url)
    assert exchange.status == 200
    assert exchange.headers == tuple(headers[:4])


async def test_headers_that_are_not_utf8_are_kept_readable() -> None:
    answer = send(b"HTTP/1.1 200 OK\r\nx-name: J\xfcrgen\r\ncontent-length: 0\r\n\r\n")
    async with Receiver(answer) as receiver, sending() as sender:
        exchange = await post(sender, receiver.url)
    assert exchange.headers[0] == ("x-name", "J\ufffdrgen")


async def test_no_cookie_is_kept() -> None:
    answer = respond(200, headers=[("set-cookie", "session=1; path=/")])
    async with (
        Receiver(answer) as receiver,
        sending(names=Names(receiver_test=("127.0.0.1",))) as sender,
    ):
        for _ in range(2):
            await post(sender, receiver.url_of("receiver.test"))
    assert [request.all("cookie") for request in receiver.requests] == [[], []]


async def test_a_connection_is_used_again() -> None:
    async with Receiver() as receiver, sending() as sender:
        for _ in range(3):
            assert (await post(sender, receiver.url)).status == 200
        assert receiver.connections == 1


async def test_a_connection_whose_body_was_cut_is_closed_and_not_drained() -> None:
    long = respond(200, b"x" * 100_000)
    async with Receiver(long, respond()) as receiver, sending() as sender:
        assert (await post(sender, receiver.url)).truncated
        assert (await post(sender, receiver.url)).status == 200
        assert receiver.connections == 2


async def test_what_comes_unasked_on_an_idle_connection_is_no_answer_to_the_next_request() -> None:
    poison, poisoned = asyncio.Event(), asyncio.Event()

    async def answer_and_poison(connection: Connection) -> None:
        await respond(200)(connection)
        await poison.wait()
        await respond(500)(connection)
        poisoned.set()
        await connection.read_to_the_end()

    async with Receiver(answer_and_poison, respond(201)) as receiver, sending() as sender:
        assert (await post(sender, receiver.url)).status == 200
        poison.set()
        await poisoned.wait()
        # The bytes are in the kernel now; the loop hands them over in its next rounds.
        for _ in range(5):
            await asyncio.sleep(0)
        assert (await post(sender, receiver.url)).status == 201
        assert receiver.connections == 2


async def test_an_answer_before_the_whole_request_was_read_is_taken() -> None:
    async def refuse(connection: Connection) -> None:
        await respond(413, headers=[("connection", "close")])(connection)
        await connection.read_to_the_end()

    async with Receiver(on_connect=refuse) as receiver, sending() as sender:
        exchange = await post(sender, receiver.url, body=b"x" * 8_000_000)
    assert exchange.status == 413


async def test_a_cancelled_exchange_raises_and_closes_its_connection() -> None:
    async with Receiver(stay_silent) as receiver, sending() as sender:
        task = asyncio.create_task(post(sender, receiver.url))
        await receiver.next_request()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await receiver.wait_for_ended_connections(1)


async def test_waiting_for_a_free_connection_counts_in_the_timeout() -> None:
    async with (
        Receiver(stay_silent) as busy,
        Receiver() as idle,
        sending(timeout=SHORT, max_connections=1) as sender,
    ):
        first, second = await asyncio.gather(post(sender, busy.url), post(sender, busy.url))
        assert {first.error_kind, second.error_kind} == {ErrorKind.ERROR_KIND_TIMEOUT}
        # And the one that timed out gave its place back.
        assert (await post(sender, idle.url)).error_kind in (
            ErrorKind.ERROR_KIND_UNSPECIFIED,
            ErrorKind.ERROR_KIND_TIMEOUT,
        )


async def test_a_port_that_nothing_listens_at_is_told() -> None:
    async with Receiver() as receiver:
        url = receiver.url
    async with sending() as sender:
        exchange = await post(sender, url)
    assert (exchange.status, exchange.error_kind) == (0, ErrorKind.ERROR_KIND_CONNECTION_REFUSED)
    assert 0 < len(exchange.error_detail) <= 200


async def test_a_name_without_an_address_is_told() -> None:
    async with sending() as sender:
        exchange = await post(sender, "http://nowhere.test/")
    assert (exchange.status, exchange.error_kind) == (0, ErrorKind.ERROR_KIND_NAME_NOT_RESOLVED)


async def test_the_next_address_of_a_name_is_tried_when_the_first_refuses() -> None:
    async with Receiver() as receiver:
        # Loopback has many addresses, and the receiver listens at one of them.
        names = Names(receiver_test=("127.0.0.2", "127.0.0.1"))
        async with sending(names=names) as sender:
            exchange = await post(sender, receiver.url_of("receiver.test"))
        request = await receiver.next_request()
    assert exchange.status == 200
    assert request.header("host") == f"receiver.test:{receiver.port}"
