"""Failures as sentences for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from octohooks import OctohooksError


class CommandFailed(Exception):
    """The command cannot do what it was asked for; the text is a sentence that says why."""


@contextmanager
def told_as_sentences(target: str) -> Iterator[None]:
    """Ends the program with a sentence on standard error when the server at the target refuses a
    call or does not answer it, or the command fails otherwise: with exit code 1, or 2 when the call
    cannot even be made."""
    # Only a command that runs needs gRPC, which takes longer to import than all else together.
    from octohooks import OctohooksError

    try:
        yield
    except OctohooksError as error:
        text = sentence(error, target)
        violations = [f"{field}: {description}" for field, description in error.violations]
        end_with(text, *(violation for violation in violations if violation not in text))
    except CommandFailed as failure:
        end_with(str(failure))
    except ValueError as error:
        # What the client says of a value that no request can hold.
        end_with(str(error), exit_code=2)


def sentence(error: OctohooksError, target: str) -> str:
    """What the server at the target has against the call, or that there is no server."""
    from octohooks import DeadlineExceeded, Unavailable

    text = error.message or error.code.name
    # What a server says itself has a reason; else gRPC speaks, in words for its own developers.
    if error.reason is None and isinstance(error, Unavailable):
        return (
            f"no server answers at {target} ({text}). Start one with `octohooks serve`, or name"
            " another with --target."
        )
    if error.reason is None and isinstance(error, DeadlineExceeded):
        return f"the server at {target} did not answer in time."
    return f"{text} (request {error.request_id})" if error.request_id else text


def end_with(text: str, *more: str, exit_code: int = 1) -> NoReturn:
    """Ends the program with a sentence on standard error, and a line for each of the others."""
    from octohooks_cli.text import printable

    error = typer.style("Error:", fg=typer.colors.RED, bold=True)
    typer.echo("\n  ".join([f"{error} {printable(text)}", *map(printable, more)]), err=True)
    raise typer.Exit(exit_code)
