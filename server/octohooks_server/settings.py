"""Every setting of the server, read once from `OCTOHOOKS_*` environment variables."""

import re
import sys
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import URL

from octohooks_server.rules.addresses import Subnet, parse_subnets
from octohooks_server.rules.keyring import parse_keys

# What stands behind the hosts of a URL.
_PORTS = re.compile(r":([^:,\]]*)(?:,|$)")


class SettingsError(Exception):
    """A setting has a wrong value; the text is a sentence for the operator."""

    def __init__(self, *problems: str) -> None:
        """Sentences, of which the first is told at a start."""
        super().__init__(problems[0])
        self.problems = problems


class DatabaseAway(Exception):
    """The database cannot be reached, which may be over soon; the text is a sentence."""


class Settings(BaseSettings):
    """What the server does, and the one place that says how to change it.

    A field `x` is set by the environment variable `OCTOHOOKS_X`. Durations are seconds.
    """

    model_config = SettingsConfigDict(
        env_prefix="OCTOHOOKS_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    listen: str = Field(
        default="127.0.0.1:50051",
        description="Address and port that gRPC is served at; port 0 takes a free one.",
    )
    tls_certificate: Path | None = Field(
        default=None,
        description=(
            "PEM file with the server's certificate and what leads to its authority. With it gRPC"
            " is served over TLS; files that are replaced are used for new connections at once."
        ),
    )
    tls_private_key: Path | None = Field(
        default=None,
        description=(
            "PEM file with the key of `OCTOHOOKS_TLS_CERTIFICATE`: RSA, or ECDSA with P-256 or"
            " P-384."
        ),
    )
    tls_client_ca: Path | None = Field(
        default=None,
        description=(
            "PEM file with the authorities of clients' certificates. With it only clients connect"
            " that show one (mutual TLS)."
        ),
    )
    allow_plaintext: bool = Field(
        default=False,
        description=(
            "Whether gRPC may be served without TLS where other machines can reach it, for servers"
            " behind a proxy that ends TLS."
        ),
    )
    max_connections: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="How many connections clients may have to this server; more are closed.",
    )
    max_connection_age: timedelta = Field(
        default=timedelta(hours=1),
        ge=timedelta(seconds=1),
        le=timedelta(days=365),
        description=(
            "How long a connection of a client may live, give or take a tenth. Then the client"
            " makes a new one, and calls on the old one have 300 seconds to end."
        ),
    )
    data_dir: Path = Field(
        default=Path("data"),
        description="Folder that holds the embedded database; made when it is missing.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description=(
            "A PostgreSQL database, `postgresql://user:password@host/name`, which any number of"
            " servers may share; unset, the embedded database in `OCTOHOOKS_DATA_DIR`, for one."
        ),
    )
    database_connections: int = Field(
        default=10,
        ge=2,
        le=1_000,
        description="How many connections one server has to PostgreSQL at most, plus one.",
    )
    role: Literal["all", "api", "delivery"] = Field(
        default="all",
        description=(
            "What this server does: `api` takes calls and leaves deliveries to others, `delivery`"
            " delivers and takes no calls but health checks. Both need `OCTOHOOKS_DATABASE_URL`."
        ),
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=256,
        description=(
            "How many server processes share the port, watched over by one more. More than 1 needs"
            " `OCTOHOOKS_DATABASE_URL`."
        ),
    )
    share_port: bool = Field(
        default=False,
        description=(
            "Whether other servers on this machine may listen at the same port; each then gets some"
            " of the connections."
        ),
    )
    operator_key: SecretStr | None = Field(
        default=None,
        description=(
            "The operator's key, at least 32 characters. Unset, each start makes a new one and"
            " prints it."
        ),
    )
    encryption_keys: SecretStr | None = Field(
        default=None,
        description=(
            "Keys that secrets in the database are encrypted with, comma-separated, each the base64"
            " of 32 random bytes; the first encrypts, and all of them decrypt. Unset, secrets are"
            " kept plain."
        ),
    )
    encryption_keys_file: Path | None = Field(
        default=None,
        description=(
            "A file with these keys, one a line, instead of `OCTOHOOKS_ENCRYPTION_KEYS`; it is read"
            " at the start."
        ),
    )
    reflection: bool = Field(
        default=True, description="Whether gRPC reflection is served, so that tools find the API."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto",
        description="`json`, `console`, or `auto`: console lines on a terminal, JSON elsewhere.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe level that is logged."
    )
    metrics_listen: str | None = Field(
        default=None,
        description=(
            "Address and port of plain HTTP for `/metrics`, `/livez` and `/readyz`, open to whoever"
            " reaches it; port 0 takes a free one. Each of several workers takes a port of its own,"
            " counted up from this one. Unset, none is opened."
        ),
    )
    request_timeout: timedelta = Field(
        default=timedelta(seconds=15),
        gt=timedelta(0),
        le=timedelta(seconds=30),
        description="How long one attempt may take, name look-up included; at most 30.",
    )
    lease: timedelta = Field(
        default=timedelta(seconds=60),
        description=(
            "How long a delivery belongs to the server that claimed it; a crash delays it by as"
            " much. At least `OCTOHOOKS_REQUEST_TIMEOUT` plus 5."
        ),
    )
    max_in_flight: int = Field(
        default=500, ge=1, le=10_000, description="How many attempts are under way at once."
    )
    max_in_flight_per_endpoint: int = Field(
        default=20,
        ge=1,
        le=1_000,
        description="How many attempts are under way at once at one endpoint.",
    )
    max_watches_per_environment: int = Field(
        default=1_000, ge=1, description="How many open watches an environment may have."
    )
    max_watches_per_key: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description=(
            "How many open watches an API key without a limit of its own may have at one server; 0"
            " for as many as its environment."
        ),
    )
    max_requests_per_second: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description=(
            "How many requests per second an API key without a limit of its own may make of one"
            " server, each message of a batch counted; 0 for no limit."
        ),
    )
    history_retention: timedelta | None = Field(
        default=None,
        ge=timedelta(days=90),
        description=(
            "How long attempts, cancellations, messages that are done with, and the audit log are"
            " kept; at least 7776000, which is 90 days, since payloads may be kept as long. Unset,"
            " as long as what they belong to."
        ),
    )
    allowed_subnets: Annotated[tuple[Subnet, ...], NoDecode] = Field(
        default=(),
        description=(
            "Subnets that webhooks may go to although they are not public, comma-separated, such as"
            " `127.0.0.0/8,::1/128`."
        ),
    )
    nameservers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description=(
            "Name servers that hosts of webhooks are looked up at, comma-separated, each `address`"
            " or `address:port`; unset, the system's."
        ),
    )
    outbound_proxy: str | None = Field(
        default=None,
        description="URL of an HTTP proxy that every webhook goes through, `http://host:port`.",
    )
    shutdown_grace: timedelta = Field(
        default=timedelta(seconds=20),
        ge=timedelta(0),
        description="How long a stop waits for calls and attempts that are under way.",
    )

    @field_validator(
        "max_connection_age",
        "request_timeout",
        "lease",
        "history_retention",
        "shutdown_grace",
        mode="before",
    )
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        if isinstance(value, str):
            try:
                return timedelta(seconds=float(value))
            except (ValueError, OverflowError):
                raise ValueError("must be a number of seconds") from None
        return value

    @field_validator("allowed_subnets", mode="before")
    @classmethod
    def _subnets(cls, value: Any) -> Any:
        if isinstance(value, str):
            return parse_subnets(value)
        return value

    @field_validator("nameservers", mode="before")
    @classmethod
    def _in_a_list(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part for part in map(str.strip, value.split(",")) if part)
        return value

    @field_validator("nameservers")
    @classmethod
    def _addresses_and_ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if not _is_address(one) and not _is_address_and_port(one):
                raise ValueError(
                    f"{one!r} is not an address, or an address and a port, such as 192.0.2.1,"
                    " 192.0.2.1:53 or [2001:db8::1]:53"
                )
        return value

    @field_validator("operator_key")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError("must have at least 32 characters")
        return value

    @field_validator("encryption_keys")
    @classmethod
    def _keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_keys(value.get_secret_value())
        return value

    @field_validator("database_url")
    @classmethod
    def _postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        # The value may hold a password, so it is not repeated.
        if value is not None:
            if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
                raise ValueError("must be the URL of a PostgreSQL database, postgresql://...")
            ports = _PORTS.findall(urlsplit(value.get_secret_value()).netloc.rpartition("@")[2])
            if not all(port.isdecimal() and 1 <= int(port) <= 65_535 for port in ports):
                raise ValueError(
                    "must be a URL whose ports are numbers, such as postgresql://a:5432,b:5432/name"
                )
        return value

    @field_validator("listen", "metrics_listen")
    @classmethod
    def _address_and_port(cls, value: str | None) -> str | None:
        if value is None:
            return None
        host, separator, port = value.rpartition(":")
        if not separator or not host or not port.isdecimal() or int(port) > 65_535:
            raise ValueError("must be an address and a port, such as 127.0.0.1:50051")
        return value

    @field_validator("outbound_proxy")
    @classmethod
    def _http_proxy(cls, value: str | None) -> str | None:
        # The value may hold a password, so it is not repeated.
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme != "http" or not parts.hostname or not parts.port:
                raise ValueError("must be the URL of an HTTP proxy, such as http://10.0.0.1:3128")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        problems: list[str] = []
        for check in (
            self._tls_is_set_whole,
            self._keys_come_from_one_place,
            self._lease_outlives_an_attempt,
            self._one_server_without_a_shared_database,
            self._each_worker_has_a_port_for_metrics,
        ):
            try:
                check()
            except SettingsError as error:
                problems += error.problems
        if problems:
            raise SettingsError(*problems)
        return self

    def _tls_is_set_whole(self) -> None:
        certificate, private_key, client_ca = (
            f"OCTOHOOKS_TLS_{name}" for name in ("CERTIFICATE", "PRIVATE_KEY", "CLIENT_CA")
        )
        for there, name, missing, other in (
            (self.tls_certificate, certificate, self.tls_private_key, private_key),
            (self.tls_private_key, private_key, self.tls_certificate, certificate),
            (self.tls_client_ca, client_ca, self.tls_certificate, certificate),
        ):
            if there is not None and missing is None:
                raise SettingsError(f"{name} is set, which needs {other} too.")

    def _keys_come_from_one_place(self) -> None:
        if self.encryption_keys is not None and self.encryption_keys_file is not None:
            raise SettingsError(
                "OCTOHOOKS_ENCRYPTION_KEYS and OCTOHOOKS_ENCRYPTION_KEYS_FILE are both set; the"
                " keys come from one of them."
            )
        self.read_encryption_keys()

    def _lease_outlives_an_attempt(self) -> None:
        if self.lease < self.request_timeout + timedelta(seconds=5):
            raise SettingsError(
                f"OCTOHOOKS_LEASE is {self.lease.total_seconds():g} and must be at least"
                f" {self.request_timeout.total_seconds() + 5:g}: OCTOHOOKS_REQUEST_TIMEOUT plus 5"
                " seconds, or a delivery could be attempted twice at the same time."
            )

    def _one_server_without_a_shared_database(self) -> None:
        for name, alone in (("role", "all"), ("workers", 1)):
            if self.database_url is None and getattr(self, name) != alone:
                raise SettingsError(
                    f"OCTOHOOKS_{name.upper()} is {getattr(self, name)}, which needs"
                    " OCTOHOOKS_DATABASE_URL: the embedded database serves one server."
                )

    def read_encryption_keys(self) -> tuple[bytes, ...]:
        """The keys that secrets are encrypted with, the newest first; SettingsError when the file
        with them cannot be read or is wrong.
        """
        if self.encryption_keys is not None:
            return parse_keys(self.encryption_keys.get_secret_value())
        if self.encryption_keys_file is None:
            return ()
        name = f"OCTOHOOKS_ENCRYPTION_KEYS_FILE is {self.encryption_keys_file}, which"
        try:
            keys = parse_keys(self.encryption_keys_file.read_text("ascii"))
        except OSError as error:
            raise SettingsError(f"{name} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise SettingsError(f"{name} holds something else than keys in base64.") from None
        except ValueError as error:
            raise SettingsError(f"{name} has a wrong value: {error}.") from None
        if not keys:
            raise SettingsError(f"{name} holds no key.")
        return keys

    def _each_worker_has_a_port_for_metrics(self) -> None:
        if self.metrics_listen is not None:
            port = int(self.metrics_listen.rpartition(":")[2])
            if port + self.workers - 1 > 65_535:
                raise SettingsError(
                    f"OCTOHOOKS_METRICS_LISTEN is {self.metrics_listen}, from which no"
                    f" {self.workers} ports can be counted up for OCTOHOOKS_WORKERS."
                )

    def metrics_listen_of(self, worker: int) -> str | None:
        """Where the metrics of a worker are, by its number from 0 on."""
        if self.metrics_listen is None:
            return None
        host, _, port = self.metrics_listen.rpartition(":")
        return f"{host}:{int(port) + worker if int(port) else 0}"

    @property
    def database(self) -> str | URL:
        """Where the database is."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return URL.create("sqlite", database=str(self.database_file))

    @property
    def database_file(self) -> Path:
        """Where the embedded database is, when that is used."""
        return self.data_dir / "octohooks.db"

    @property
    def logs_as_json(self) -> bool:
        """Whether log lines are JSON."""
        if self.log_format == "auto":
            return not sys.stderr.isatty()
        return self.log_format == "json"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_address_and_port(text: str) -> bool:
    """An IPv6 address stands in brackets then."""
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    address = host[1:-1] if bracketed else host
    return (
        _is_address(address)
        and bracketed == (":" in address)
        and port.isdecimal()
        and 1 <= int(port) <= 65_535
    )


def read_settings() -> Settings:
    """The settings of this process's environment; raises `SettingsError` with all that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(
            *(
                f"OCTOHOOKS_{str(one['loc'][0]).upper()} has a wrong value:"
                f" {one['msg'].removeprefix('Value error, ')}."
                for one in error.errors(include_url=False, include_input=False)
            )
        ) from None
