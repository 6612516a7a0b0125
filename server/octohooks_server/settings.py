"""Every setting of the server, read once from `OCTOHOOKS_*` environment variables."""

import sys
from contextlib import suppress
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from octohooks_server.rules.addresses import Subnet, parse_subnets


class SettingsError(Exception):
    """A setting has a wrong value; the text is a sentence for the operator."""


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
    history_retention: timedelta | None = Field(
        default=None,
        ge=timedelta(days=90),
        description=(
            "How long attempts, cancellations, and messages that are done with are kept; at least"
            " 7776000, which is 90 days, since payloads may be kept as long. Unset, as long as"
            " their application."
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
        "request_timeout", "lease", "history_retention", "shutdown_grace", mode="before"
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

    @field_validator("database_url")
    @classmethod
    def _postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        # The value may hold a password, so it is not repeated.
        if value is not None:
            with suppress(ArgumentError):
                if make_url(value.get_secret_value()).get_backend_name() == "postgresql":
                    return value
            raise ValueError("must be the URL of a PostgreSQL database, postgresql://...")
        return value

    @field_validator("listen")
    @classmethod
    def _address_and_port(cls, value: str) -> str:
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
    def _lease_outlives_an_attempt(self) -> "Settings":
        if self.lease < self.request_timeout + timedelta(seconds=5):
            raise SettingsError(
                f"OCTOHOOKS_LEASE is {self.lease.total_seconds():g} and must be at least"
                f" {self.request_timeout.total_seconds() + 5:g}: OCTOHOOKS_REQUEST_TIMEOUT plus 5"
                " seconds, or a delivery could be attempted twice at the same time."
            )
        return self

    @model_validator(mode="after")
    def _one_server_without_a_shared_database(self) -> "Settings":
        for name, alone in (("role", "all"), ("workers", 1)):
            if self.database_url is None and getattr(self, name) != alone:
                raise SettingsError(
                    f"OCTOHOOKS_{name.upper()} is {getattr(self, name)}, which needs"
                    " OCTOHOOKS_DATABASE_URL: the embedded database serves one server."
                )
        return self

    @property
    def database(self) -> URL:
        """Where the database is."""
        if self.database_url is not None:
            return make_url(self.database_url.get_secret_value())
        return URL.create("sqlite", database=str(self.data_dir / "octohooks.db"))

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
    """The settings of this process's environment; raises `SettingsError` with a sentence."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "OCTOHOOKS_" + str(first["loc"][0]).upper()
        problem = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{name} has a wrong value: {problem}.") from None
