"""The arguments and options that commands share, and how their values are read."""

import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import typer

from octohooks_cli.times import parse_duration, parse_time


class Default(Enum):
    """What stands for going back to a default."""

    DEFAULT = "default"


class Pair(NamedTuple):
    """A key and its value."""

    key: str
    value: str


def _pair(text: str) -> Pair | None:
    if not text:
        return None
    key, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"{text!r} has no = between key and value")
    return Pair(key, value)


def _document(text: str) -> bytes:
    """The text, or what `@FILE` or `-` names."""
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        try:
            return Path(text[1:]).read_bytes()
        except OSError as error:
            raise ValueError(f"{text[1:]}: {error.strerror}") from error
    return text.encode(errors="surrogateescape")


def _duration_or_default(text: str) -> timedelta | Default:
    return Default.DEFAULT if text == "default" else parse_duration(text)


def _schedule(text: str) -> list[timedelta] | Default:
    if text == "default":
        return Default.DEFAULT
    return [parse_duration(step.strip()) for step in text.split(",")]


def past(text: str) -> datetime:
    """The time, or the time that is so long ago."""
    return parse_time(text, now=datetime.now().astimezone(), direction=-1)


def _future(text: str) -> datetime:
    return parse_time(text, now=datetime.now().astimezone(), direction=1)


def given(**values: Any) -> dict[str, Any]:
    """The fields of which the command line says something: an option that is not there leaves its
    field alone, and `default` clears it."""
    return {
        name: None if value is Default.DEFAULT else value
        for name, value in values.items()
        if value is not None
    }


def names(values: Iterable[str] | None) -> list[str] | None:
    """The values of a repeatable option; one empty value stands for none."""
    return None if values is None else [value for value in values if value]


def documents(values: Iterable[bytes] | None) -> list[bytes] | None:
    """The documents of a repeatable option; one empty document stands for none."""
    return None if values is None else [value for value in values if value]


def mapping(pairs: Iterable[Pair | None] | None) -> dict[str, str] | None:
    """The pairs of a repeatable option; one empty value stands for none."""
    return None if pairs is None else dict(pair for pair in pairs if pair is not None)


ApplicationArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="APPLICATION", help="The application's ID or UID.")
]
EndpointArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="ENDPOINT", help="The endpoint's ID or UID.")
]
MessageArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="MESSAGE", help="The message's ID or UID.")
]
ApplicationOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--application", metavar="APPLICATION", help="The ID or UID of an application."),
]
EndpointOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="ENDPOINT",
        help="The ID of an endpoint, or with --application its UID.",
    ),
]
MessageOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--message",
        metavar="MESSAGE",
        help="The ID of a message, or with --application its UID.",
    ),
]

Limit: TypeAlias = Annotated[
    int, typer.Option("--limit", min=0, help="How many to show at the most; 0 shows all.")
]
AllowMissing: TypeAlias = Annotated[
    bool, typer.Option(help="Whether to make it when there is none with this UID.")
]

Uid: TypeAlias = Annotated[
    str | None, typer.Option("--uid", metavar="UID", help="Your own name for it.")
]
Name: TypeAlias = Annotated[str | None, typer.Option("--name", help="What people call it.")]
Description: TypeAlias = Annotated[
    str | None, typer.Option("--description", help="What it is for.")
]
Secret: TypeAlias = Annotated[
    str | None,
    typer.Option("--secret", help="The secret to sign with; one is made unless it is given."),
]
SignatureType: TypeAlias = Annotated[
    Literal["hmac_sha256", "ed25519"] | None,
    typer.Option("--signature-type", help="How to sign."),
]
RateLimit: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--rate-limit", min=0, metavar="NUMBER", help="Messages per second; 0 for no limit."
    ),
]
Disabled: TypeAlias = Annotated[
    bool | None, typer.Option("--disabled/--enabled", help="Whether it gets no messages.")
]
RetrySchedule: TypeAlias = Annotated[
    Any,
    typer.Option(
        "--retry-schedule",
        metavar="STEPS",
        parser=_schedule,
        help="The wait before each attempt, such as 0s,5s,5m; `default` for the one above it.",
    ),
]
PayloadRetention: TypeAlias = Annotated[
    Any,
    typer.Option(
        "--payload-retention",
        metavar="DURATION",
        parser=_duration_or_default,
        help="How long payloads are kept, such as 30d: 5 to 90 days, or `default`.",
    ),
]
Overlap: TypeAlias = Annotated[
    timedelta | None,
    typer.Option(
        "--overlap",
        metavar="DURATION",
        parser=parse_duration,
        help="How long the old one goes on working, such as 24h.",
    ),
]
Expires: TypeAlias = Annotated[
    datetime | None,
    typer.Option(
        "--expires",
        metavar="TIME",
        parser=_future,
        help="When it stops working: a time, or a duration from now on such as 30d.",
    ),
]

EventTypes: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--event-type", metavar="NAME", help="An event type; repeatable. Empty for all of them."
    ),
]
Channels: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--channel", metavar="NAME", help="A channel; repeatable. Empty for none."),
]
Headers: TypeAlias = Annotated[
    list[Pair] | None,
    typer.Option(
        "--header",
        metavar="NAME=VALUE",
        parser=_pair,
        help="A header to send along; repeatable. Empty for none.",
    ),
]
Metadata: TypeAlias = Annotated[
    list[Pair] | None,
    typer.Option(
        "--metadata",
        metavar="KEY=VALUE",
        parser=_pair,
        help="A fact of your own about it; repeatable. Empty for none.",
    ),
]
Tags: TypeAlias = Annotated[
    list[Pair] | None,
    typer.Option(
        "--tag", metavar="KEY=VALUE", parser=_pair, help="A tag with its value; repeatable."
    ),
]
Payload: TypeAlias = Annotated[
    bytes,
    typer.Option(
        "--payload",
        metavar="JSON",
        parser=_document,
        help="JSON text, sent as it is; @FILE reads it from a file and - from standard input.",
    ),
]
Schema: TypeAlias = Annotated[
    bytes | None,
    typer.Option(
        "--schema",
        metavar="JSON",
        parser=_document,
        help="The JSON Schema of its payloads; @FILE reads it from a file. Empty for none.",
    ),
]
Examples: TypeAlias = Annotated[
    list[bytes] | None,
    typer.Option(
        "--example",
        metavar="JSON",
        parser=_document,
        help="An example payload, or @FILE; repeatable. Empty for none.",
    ),
]
DocumentArgument: TypeAlias = Annotated[
    bytes,
    typer.Argument(
        metavar="FILE",
        parser=lambda path: _document(path if path == "-" else f"@{path}"),
        help="The document, JSON or YAML; - reads it from standard input.",
    ),
]

Succeeded: TypeAlias = Annotated[bool, typer.Option("--succeeded", help="Attempts that succeeded.")]
Failed: TypeAlias = Annotated[bool, typer.Option("--failed", help="Attempts that failed.")]

After: TypeAlias = Annotated[
    datetime | None,
    typer.Option(
        "--after",
        metavar="TIME",
        parser=past,
        help="From this time on: 2026-01-31T12:00, or how long ago, such as 1h.",
    ),
]
Before: TypeAlias = Annotated[
    datetime | None,
    typer.Option("--before", metavar="TIME", parser=past, help="Before this time, as --after."),
]
Since: TypeAlias = Annotated[
    datetime,
    typer.Option(
        "--since",
        metavar="TIME",
        parser=past,
        help="Messages accepted from this time on: 2026-01-31T12:00, or how long ago, such as 1h.",
    ),
]
Until: TypeAlias = Annotated[
    datetime | None,
    typer.Option(
        "--until", metavar="TIME", parser=past, help="Messages accepted before; now unless given."
    ),
]
