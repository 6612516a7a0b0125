"""Where an endpoint may be: the URLs that webhooks are posted to.

The one reading of a URL: what is checked here and what is connected to later are the same parts, so
that no second parser can take another view of it.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import quote

from octohooks_server.rules.addresses import Subnet, is_allowed, literal_address

MAX_CHARACTERS = 2048

_DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)(#.*)?", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::(.*))?", re.DOTALL)
_PORT = re.compile(r"[0-9]{1,5}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# Letters that the two versions of IDNA turn into different names.
_AMBIGUOUS = re.compile("[\u00df\u1e9e\u03c2\u200c\u200d]")
_UNQUOTED = "!#$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, slots=True)
class EndpointUrl:
    """A URL that can be posted to, in parts; all of them are ASCII."""

    scheme: str
    """`http` or `https`."""
    host: str
    """A name, or an address in its usual spelling, IPv6 without brackets; in lower case."""
    port: int
    target: str
    """Path and query as they stand in the request line; begins with a slash."""
    is_address: bool
    """Whether `host` is an address and not a name."""

    @property
    def host_header(self) -> str:
        """The value of `host`: without the port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def url_problem(url: str, allowed_subnets: Iterable[Subnet] = ()) -> str | None:
    """Why an endpoint cannot have this URL, as a sentence; None when it can.

    This is the friendly check: it refuses addresses, and names of this machine, that no connection
    would be made to. Any other name is judged by its addresses, when it is connected to.
    """
    try:
        parsed = parse_url(url)
    except ValueError as error:
        return str(error)
    if parsed.is_address:
        addresses = [parsed.host]
    elif _is_local_name(parsed.host):
        addresses = ["127.0.0.1", "::1"]
    else:
        return None
    subnets = tuple(allowed_subnets)
    if not any(is_allowed(address, subnets) for address in addresses):
        return (
            f"The host {parsed.host} is not on the public Internet; the operator of this server "
            "can allow its subnet."
        )
    return None


def parse_url(url: str) -> EndpointUrl:
    """The parts of an endpoint's URL. ValueError with a sentence when it cannot be posted to."""
    if len(url) > MAX_CHARACTERS:
        raise ValueError(f"A URL has at most {MAX_CHARACTERS} characters.")
    if any(_is_blank(character) for character in url):
        raise ValueError("A URL holds no spaces and no control characters.")
    if "\\" in url:
        raise ValueError("A URL holds no backslashes.")
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError("A URL begins with https:// or http:// and a host.")
    scheme, authority, target, fragment = match.groups()
    if fragment is not None:
        raise ValueError("A URL has no fragment (#): it would never be sent.")
    if "@" in authority:
        raise ValueError("A URL has no user name or password; use a header instead.")
    scheme = scheme.lower()
    host, port, is_address = _host_and_port(authority, _DEFAULT_PORTS[scheme])
    if not target.startswith("/"):
        target = "/" + target
    return EndpointUrl(
        scheme=scheme,
        host=host,
        port=port,
        target=quote(target, safe=_UNQUOTED),
        is_address=is_address,
    )


def _host_and_port(authority: str, default_port: int) -> tuple[str, int, bool]:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise ValueError("The host of the URL is not a name or an address.")
    host, port_text = match.groups()
    port = default_port
    if port_text is not None:
        if not _PORT.fullmatch(port_text) or not 1 <= int(port_text) <= 65_535:
            raise ValueError("The port of the URL is not a number between 1 and 65535.")
        port = int(port_text)
    address = literal_address(host)
    if address is not None:
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            raise ValueError("The host of the URL is an address with a scope.")
        return str(address), port, True
    return _name(host), port, False


def _name(host: str) -> str:
    """The name in ASCII and lower case, as it is looked up."""
    if not host:
        raise ValueError("A URL begins with https:// or http:// and a host.")
    if not host.isascii():
        if _AMBIGUOUS.search(host):
            raise ValueError("Write the host of the URL in its ASCII form, which begins with xn--.")
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError("The host of the URL is not a valid name.") from None
    host = host.lower()
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("The host of the URL is not a valid name.")
    if labels[-1].isdecimal() or labels[-1].startswith("0x"):
        # It reads as an address and is none, so resolvers disagree about it.
        raise ValueError("The host of the URL is neither a name nor an address.")
    return host


def _is_local_name(host: str) -> bool:
    """RFC 6761, section 6.3: these name the machine itself, whatever a resolver says."""
    name = host.removesuffix(".")
    return name == "localhost" or name.endswith(".localhost")


def _is_blank(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs")
