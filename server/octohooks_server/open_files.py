"""How many files this process may have open, connections among them."""

import resource
from contextlib import suppress

from octohooks_server.settings import Settings

# Of the interpreter, the log, the database and the event loop.
_OTHERS = 100


def needed(settings: Settings) -> int:
    """How many a server has open at the most, with all connections that its settings allow."""
    return (
        settings.max_connections + settings.max_in_flight + settings.database_connections + _OTHERS
    )


def allowed() -> int:
    """How many `allow` can make the limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if most == resource.RLIM_INFINITY else most


def allow(settings: Settings) -> None:
    """Raises the limit to what is needed, or as far as the system lets this process. Systems give
    1,024 at first, for the sake of programs that are older than their `poll`."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(needed(settings), allowed())
    if limit != resource.RLIM_INFINITY and limit < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
