"""Log lines: one event each, as JSON for machines or as a coloured line for people, on stderr."""

import logging
import sys

import structlog

from octohooks_server.api.caller import request_id_of_call


def configure_logs(*, as_json: bool, level: str) -> None:
    """Sets up structlog, and sends what libraries log through it, from warnings on."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor
    if as_json:
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The richer one shows local variables, in which there are keys and payloads.
            exception_formatter=structlog.dev.plain_traceback,
        )
    threshold = getattr(logging, level.upper())
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processor=renderer)
    )
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)


def _add_request_id(
    _: object, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Lets each line of a call hold the call's request ID."""
    request_id = request_id_of_call()
    if request_id is not None:
        event["request_id"] = request_id
    return event
