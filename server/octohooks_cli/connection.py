"""Where the server is and who asks, as the command line says it."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
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
TlsCa: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--tls-ca",
        metavar="FILE",
        help="The authorities to trust, in PEM; else OCTOHOOKS_TLS_CA.",
        exists=True,
        dir_okay=False,
        rich_help_panel="Connection",
    ),
]
TlsClientCertificate: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--tls-client-certificate",
        metavar="FILE",
        help="What to show to a server that wants it, in PEM; else"
        " OCTOHOOKS_TLS_CLIENT_CERTIFICATE.",
        exists=True,
        dir_okay=False,
        rich_help_panel="Connection",
    ),
]
TlsClientKey: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--tls-client-key",
        metavar="FILE",
        help="Its private key, in PEM; else OCTOHOOKS_TLS_CLIENT_KEY.",
        exists=True,
        dir_okay=False,
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
    tls_ca: Path | None = None
    tls_client_certificate: Path | None = None
    tls_client_key: Path | None = None
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
    tls_ca: TlsCa = None,
    tls_client_certificate: TlsClientCertificate = None,
    tls_client_key: TlsClientKey = None,
    as_json: AsJson = None,
) -> Connection:
    """The connection that these options say; each command takes them, and `octohooks` itself."""
    return Connection(
        api_key, target, plaintext, tls_ca, tls_client_certificate, tls_client_key, as_json
    )
