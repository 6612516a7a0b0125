"""The ports of a server: whether they are free, or who has them."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from octohooks_server.doctor.findings import SECONDS, Finding, Verdict, ok, problem
from octohooks_server.settings import Settings


async def look_at_port(settings: Settings) -> Finding:
    """Whether the port is free, or who has it."""
    return await _look_at(
        "port", "OCTOHOOKS_LISTEN", settings.listen, lambda host, port: _who(settings, host, port)
    )


async def look_at_metrics_port(settings: Settings) -> Finding | None:
    """The same for metrics; None where they have no port."""
    if settings.metrics_listen is None:
        return None
    return await _look_at(
        "metrics port", "OCTOHOOKS_METRICS_LISTEN", settings.metrics_listen, _who_has_metrics
    )


async def _look_at(
    subject: str,
    setting: str,
    listen: str,
    who_has: Callable[[str, int], Awaitable[tuple[Verdict, str]]],
) -> Finding:
    host, _, text = listen.rpartition(":")
    host, port = host.strip("[]"), int(text)
    if port == 0:
        return ok(subject, f"{listen} takes a free port.")
    try:
        _try_port(host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            reason = error.strerror or str(error)
            return problem(
                subject, f"{setting} is {listen}, which cannot be listened at: {reason}."
            )
    else:
        return ok(subject, f"{listen} is free.")
    # Where to ask what listens at every address.
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    verdict, told = await who_has(reachable, port)
    return Finding(subject, verdict, f"{setting} is {listen}, which is in use by {told}.")


async def _who(settings: Settings, host: str, port: int) -> tuple[Verdict, str]:
    if settings.tls_certificate is not None:
        return await _whose_certificate(settings.tls_certificate, host, port)
    try:
        async with grpc.aio.insecure_channel(_authority(host, port)) as channel:
            # The types of the package know no methods of a stub.
            health: Any = HealthStub(channel)
            answer = await health.Check(HealthCheckRequest(), timeout=SECONDS)
    except grpc.aio.AioRpcError:
        return (
            "problem",
            "something else than Octohooks, or a server that speaks TLS; stop it, or change the"
            " setting",
        )
    if answer.status == HealthCheckResponse.SERVING:
        return "ok", "a server, which says that it is well"
    return (
        "problem",
        "a server, which says that it cannot serve; look into its log, and at the database below",
    )


async def _whose_certificate(certificate: Path, host: str, port: int) -> tuple[Verdict, str]:
    # Only to be compared, so it need not be one that this machine trusts.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError):
        return "problem", "something that does not speak TLS; stop it, or change the setting"
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    if shown == _first_in(certificate):
        return "ok", "a server, which shows the certificate of these settings"
    return (
        "warning",
        f"a server, which shows another certificate than {certificate} holds; its log says whether"
        " it refused that file",
    )


async def _who_has_metrics(host: str, port: int) -> tuple[Verdict, str]:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as http,
            http.get(f"http://{_authority(host, port)}/livez") as response,
        ):
            # 503 is of a server that is about to end.
            is_ours = response.status in (200, 503)
    except (aiohttp.ClientError, TimeoutError):
        is_ours = False
    if is_ours:
        return "ok", "a server"
    return "problem", "something else than Octohooks; stop it, or change the setting"


def _first_in(certificate: Path) -> bytes | None:
    """The first certificate of a file, in DER; None when there is none."""
    try:
        first, *_ = x509.load_pem_x509_certificates(certificate.read_bytes())
    except (OSError, ValueError):
        return None
    return first.public_bytes(Encoding.DER)


def _try_port(host: str, port: int) -> None:
    """Raises OSError unless it can be listened at."""
    family, kind, protocol, _, place = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as trial:
        # What a server left behind that was stopped a moment ago is in nobody's way.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(place)
        trial.listen(1)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
