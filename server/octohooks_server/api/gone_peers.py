"""A peer that leaves is not an error, and nothing is logged for it."""

import logging

# cygrpc tells by this when it writes to a call whose peer has gone before it has heard of that.
_LOGGER = "grpc._cython.cygrpc"
_WRITE_FAILED = "ExecuteBatchError raised in core by servicer method"


def keep_quiet_about_gone_peers() -> None:
    """Drops what gRPC logs about them, in this process and once for all servers in it."""
    logging.getLogger(_LOGGER).addFilter(_is_worth_a_line)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_WRITE_FAILED)
