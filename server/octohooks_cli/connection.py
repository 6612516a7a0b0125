"""Where the server is and who asks, as the command line says it."""

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Self, TypeAlias

import typer

ApiKey: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        metavar="KEY",
        help="A key of an environment, or the operator's; else OCTOHOOKS_API_KEY.",
        rich_help_panel="Connection",
    ),
]
Target: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="HOST:PORT",
        help="Where the server is; else OCTOHOOKS_TARGET, else localhost:50051.",
        rich_help_panel="Connection",
    ),
]
Plaintext: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--plaintext",
        help="Do not encrypt, although the server is on another machine.",
        rich_help_panel="Connection",
    ),
]
AsJson: TypeAlias = Annotated[
    bool | None, typer.Option("--json", help="Print JSON, one object per line.")
]


@dataclass(frozen=True, slots=True)
class Connection:
    """What the command line says; None where it says nothing."""

    api_key: str | None = None
    target: str | None = None
    plaintext: bool | None = None
    as_json: bool | None = None

    def overridden_by(self, other: Self) -> Self:
        """What the other one says, and what this one says where the other says nothing."""
        return replace(
            self, **{name: said for name, said in asdict(other).items() if said is not None}
        )


def connection(
    api_key: ApiKey = None,
    target: Target = None,
    plaintext: Plaintext = None,
    as_json: AsJson = None,
) -> Connection:
    """The connection that these options say; each command takes them, and `octohooks` itself."""
    return Connection(api_key, target, plaintext, as_json)
