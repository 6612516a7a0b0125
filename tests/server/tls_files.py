"""The files that a server's certificate is read from, and what a server shows."""

import asyncio
import socket
from pathlib import Path
from typing import Any

from tests.certificates import Authority, Issued


class TlsFolder:
    """A folder with the server's certificate, its key and the authority of its clients."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "server.pem"
        self.key = folder / "server.key"
        self.client_ca = folder / "clients.pem"

    def put(self, issued: Issued) -> None:
        """Replaces certificate and key, as programs do that renew them."""
        for path, content in ((self.certificate, issued.certificate), (self.key, issued.key)):
            new = path.with_suffix(".new")
            new.touch(mode=0o600)
            new.write_bytes(content)
            new.replace(path)

    def settings(self, *, mutual: bool = False) -> dict[str, Any]:
        """The settings of a server that uses them."""
        return {
            "tls_certificate": self.certificate,
            "tls_private_key": self.key,
            "tls_client_ca": self.client_ca if mutual else None,
        }


async def shown_by(address: str, authority: Authority) -> int:
    """The serial number of the certificate that a server shows on a new connection."""

    def look() -> int:
        host, _, port = address.rpartition(":")
        context = authority.client_context()
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection((host, int(port))) as plain,
            context.wrap_socket(plain, server_hostname=host) as encrypted,
        ):
            certificate = encrypted.getpeercert()
        assert certificate is not None
        return int(str(certificate["serialNumber"]), 16)

    return await asyncio.to_thread(look)
