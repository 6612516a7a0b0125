"""What calls are told while the server stops."""

from datetime import timedelta

from octohooks_server.errors import Unavailable

_COME_BACK_AFTER = timedelta(seconds=1)


def stopping_error() -> Unavailable:
    """The end of a stream whose server stops; another one, or the next start, takes over."""
    return Unavailable(
        "The server is stopping.", reason="SHUTTING_DOWN", retry_after=_COME_BACK_AFTER
    )
