"""One command's way to the server and to the terminal."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol

import typer

from octohooks_cli.connection import Connection, connection
from octohooks_cli.failures import told_as_sentences

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from octohooks import Octohooks

    from octohooks_cli.output import Output

P = ParamSpec("P")

_LARGEST_PAGE = 250
_CONNECTION_OPTIONS = inspect.signature(connection).parameters


class Listing(Protocol):
    """A list that the client offers, with its filters."""

    def __call__(self, *, page_size: int) -> Iterator[Message]: ...


class Session:
    """What a command works with: a client, which opens when it is needed, and the output."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def target(self) -> str:
        """Where the server is."""
        from octohooks.channel import DEFAULT_TARGET

        return self._connection.target or os.environ.get("OCTOHOOKS_TARGET") or DEFAULT_TARGET

    @cached_property
    def client(self) -> Octohooks:
        from octohooks import Octohooks

        return Octohooks(**self._client_arguments())

    @cached_property
    def output(self) -> Output:
        from octohooks_cli.output import Output

        return Output(as_json=bool(self._connection.as_json))

    def show_list(self, listing: Listing, limit: int, columns: str) -> None:
        """Shows the first messages of a list, all of them when the limit is 0, and says when there
        are more."""
        if not limit:
            self.output.messages(listing(page_size=_LARGEST_PAGE), columns)
            return
        # One more than is shown tells whether there are more.
        messages = listing(page_size=min(limit + 1, _LARGEST_PAGE))
        self.output.messages(islice(messages, limit), columns)
        if next(messages, None) is not None:
            self.output.remark(f"The first {limit} are shown; --limit 0 shows all.")

    def close(self) -> None:
        if "client" in vars(self):
            self.client.close()

    def _client_arguments(self) -> dict[str, Any]:
        if not (self._connection.api_key or os.environ.get("OCTOHOOKS_API_KEY")):
            raise typer.BadParameter(
                "give an API key, or set OCTOHOOKS_API_KEY. A server prints one when it starts for"
                " the first time.",
                param_hint="--api-key",
            )
        return {
            "api_key": self._connection.api_key,
            "target": self._connection.target,
            "tls": False if self._connection.plaintext else None,
            "root_certificates": _content(self._connection.tls_ca),
            "client_certificate": _content(self._connection.tls_client_certificate),
            "client_key": _content(self._connection.tls_client_key),
        }


def _content(file: Path | None) -> bytes | None:
    return None if file is None else file.read_bytes()


@contextmanager
def session_over(connection: Connection) -> Iterator[Session]:
    """A session that ends with the block; what the server refuses ends the program."""
    session = Session(connection)
    try:
        with told_as_sentences(session.target):
            yield session
    finally:
        session.close()


Command = Callable[Concatenate[Session, P], None]


def command(group: typer.Typer, name: str) -> Callable[[Command[P]], Command[P]]:
    """Adds a function to a group as a command. The function's first parameter is its `Session`; in
    its place the command takes the options of the connection."""

    def add(function: Command[P]) -> Command[P]:
        @functools.wraps(function)
        def run(context: typer.Context, **arguments: Any) -> None:
            said = connection(**{option: arguments.pop(option) for option in _CONNECTION_OPTIONS})
            with session_over((context.obj or Connection()).overridden_by(said)) as session:
                function(session, **arguments)  # type: ignore[call-arg]

        _, *parameters = inspect.signature(function, eval_str=True).parameters.values()
        signature = inspect.Signature(
            [
                inspect.Parameter(
                    "context",
                    inspect.Parameter.POSITIONAL_OR_KEYWORD,
                    annotation=typer.Context,
                ),
                *(
                    parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
                    for parameter in (*parameters, *_CONNECTION_OPTIONS.values())
                ),
            ]
        )
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = {name: p.annotation for name, p in signature.parameters.items()}
        group.command(name)(run)
        return function

    return add
