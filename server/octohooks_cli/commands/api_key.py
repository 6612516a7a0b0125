"""`octohooks api-key`"""

from functools import partial
from typing import Annotated, Literal

import typer

from octohooks_cli.options import Expires, Limit, Name, Overlap, given
from octohooks_cli.session import Session, command

group = typer.Typer(
    no_args_is_help=True,
    help="The keys that open an environment, with the operator's key or a key of that environment.",
)

_COLUMNS = "id name role application display_prefix last_used_time expire_time create_time"
_SHOWN_ONCE = "Keep the key now: it is never shown again."

KeyArgument = Annotated[str, typer.Argument(metavar="KEY_ID", help="The ID of the key.")]
EnvironmentOption = Annotated[
    str,
    typer.Option(
        "--environment", metavar="ID", help="The environment; needed with the operator's key only."
    ),
]


@command(group, "create")
def create(
    session: Session,
    environment: EnvironmentOption = "",
    name: Name = None,
    expires: Expires = None,
    role: Annotated[
        Literal["full", "send", "read", "application"] | None,
        typer.Option("--role", help="What it may do; `full` unless told otherwise."),
    ] = None,
    application: Annotated[
        str | None,
        typer.Option(
            "--application",
            metavar="APPLICATION",
            help="The ID or UID of the only application that a key of that role opens.",
        ),
    ] = None,
    max_requests_per_second: Annotated[
        int | None,
        typer.Option(
            "--max-requests-per-second",
            min=0,
            metavar="NUMBER",
            help="How many requests it may make; 0 for what the server allows all keys.",
        ),
    ] = None,
    max_watches: Annotated[
        int | None,
        typer.Option(
            "--max-watches",
            min=0,
            metavar="NUMBER",
            help="How many watches it may have open; 0 for what the server allows all keys.",
        ),
    ] = None,
) -> None:
    """Make a key. It is shown this once."""
    values = given(
        name=name,
        expire_time=expires,
        role=role,
        application=application,
        max_requests_per_second=max_requests_per_second,
        max_watches=max_watches,
    )
    session.output.message(session.client.api_key.create(environment=environment, **values))
    session.output.remark(_SHOWN_ONCE)


@command(group, "list")
def list_keys(session: Session, environment: EnvironmentOption = "", limit: Limit = 50) -> None:
    """List the keys, newest first."""
    session.show_list(
        partial(session.client.api_key.list, environment=environment), limit, _COLUMNS
    )


@command(group, "rotate")
def rotate(session: Session, key: KeyArgument, overlap: Overlap = None) -> None:
    """Replace a key by a new one, which is shown this once.

    The old one stops at once, or after the overlap.
    """
    session.output.message(session.client.api_key.rotate(key, overlap=overlap))
    session.output.remark(_SHOWN_ONCE)


@command(group, "revoke")
def revoke(session: Session, key: KeyArgument) -> None:
    """End a key at once."""
    session.client.api_key.revoke(key)
    session.output.done(f"revoked {key}")
