"""Reads an HTTP/1.1 response from bytes as they come, in bounded memory."""

from typing import NamedTuple

from httptools import HttpParserError, HttpResponseParser

from octohooks_server.delivery.exchange import MAX_BODY_BYTES, MAX_HEADER_BYTES

# Together they bound what a response's head can make the process hold, at well above what is kept:
# a successful response is not failed for being wordy.
_MAX_HEAD_BYTES = 64 * 1024
_MAX_HEADERS = 100
# What a response takes in all, with interim ones before it, chunk sizes and trailers.
_MAX_BYTES = 256 * 1024

_SWITCHING_PROTOCOLS = 101
_NO_CONTENT = 204
_FINAL_FROM = 200
_HIGHEST_SUCCESS = 299


class NotHttp(Exception):
    """What came is not a valid HTTP response, or its head is too large."""


class Response(NamedTuple):
    """A response as far as it is kept."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    truncated: bool
    """Whether the body was longer."""


class ResponseReader:
    """Reads one response after the other; nothing is decompressed.

    A response is whole once its body is, or is longer than what is kept of it.
    """

    def __init__(self, *, head_only: bool = False) -> None:
        """With `head_only` a response of 2xx ends with its head, as that to CONNECT does."""
        self._head_only = head_only
        self._parser = HttpResponseParser(self)
        # As other clients read what is not quite by the book.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self.keeps_alive = True
        """Whether another response can follow on the same connection."""
        self.begin()

    def begin(self) -> None:
        """Gets ready for the next response."""
        self.is_whole = False
        self._received = 0
        self._begin_head()
        self._body: list[bytes] = []
        self._body_size = 0

    @property
    def is_flood(self) -> bool:
        """Whether so much has come for one response that no more of it should be read."""
        return self._received > _MAX_BYTES

    def feed(self, data: bytes) -> bool:
        """Takes in what came; answers whether the response is whole, or raises NotHttp."""
        self._received += len(data)
        self._head_received += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            # Its own objections, and those of the methods below that it calls.
            self.keeps_alive = False
            # What comes behind a whole response is no part of it, in whatever pieces it comes.
            self.is_whole = self.is_whole or self._body_size > MAX_BODY_BYTES
            if not self.is_whole:
                raise NotHttp from None
        if self._in_head and self._head_received > _MAX_HEAD_BYTES:
            raise NotHttp
        return self.is_whole

    def feed_end(self) -> bool:
        """Takes in that nothing more will come; answers whether that makes the response whole."""
        self.keeps_alive = False
        self.is_whole = not self._in_head and not self._says_its_end
        return self.is_whole

    def response(self) -> Response:
        """The response, once it is whole."""
        return Response(
            self._status,
            tuple(
                [
                    (name.decode(errors="replace"), value.decode(errors="replace"))
                    for name, value in self._headers
                ]
            ),
            b"".join(self._body)[:MAX_BODY_BYTES],
            self._body_size > MAX_BODY_BYTES,
        )

    def _begin_head(self) -> None:
        self._in_head = True
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._headers_size = 0
        self._head_received = 0
        # Whether it is not the end of the connection that ends the body.
        self._says_its_end = False
        self._announces_body = False

    # The parser calls these; whatever they raise, it raises as an HttpParserError. It goes on
    # behind the end of a response, of which nothing is taken in once it is whole.

    def on_message_begin(self) -> None:
        if self.is_whole:
            # Nobody asked for it.
            self.keeps_alive = False
        elif not self._in_head or self._status:
            # The one before was interim.
            self._begin_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.is_whole or not self._in_head:
            # The latter is a trailer.
            return
        self._headers_size += len(name) + len(value)
        if b"\0" in value or len(self._headers) == _MAX_HEADERS:
            raise NotHttp
        if self._headers_size <= MAX_HEADER_BYTES:
            self._headers.append((name, value.strip(b" \t")))
        elif self._headers_size > _MAX_HEAD_BYTES:
            raise NotHttp
        match name.lower():
            case b"content-length":
                self._says_its_end = True
                self._announces_body = value.strip(b" \t0") != b""
            case b"transfer-encoding" if value.strip().lower().endswith(b"chunked"):
                self._says_its_end = True

    def on_headers_complete(self) -> None:
        if self.is_whole:
            return
        self._status = self._parser.get_status_code()
        if self._status == _SWITCHING_PROTOCOLS:
            # It was not asked to, and what follows is not HTTP.
            raise NotHttp
        if self._status == _NO_CONTENT and self._announces_body:
            # Whether what follows is its body or something else cannot be told.
            raise NotHttp
        if self._status >= _FINAL_FROM:
            self._in_head = False
            self.is_whole = self._head_only and self._status <= _HIGHEST_SUCCESS

    def on_body(self, data: bytes) -> None:
        if self.is_whole:
            return
        self._body.append(data)
        self._body_size += len(data)
        if self._body_size > MAX_BODY_BYTES:
            # The rest is not read.
            raise NotHttp

    def on_message_complete(self) -> None:
        if not self.is_whole and not self._in_head:
            self.is_whole = True
            self.keeps_alive = self._parser.should_keep_alive()
