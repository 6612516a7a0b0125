"""One line for each thing that happens to a delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from octohooks_cli.text import cell

if TYPE_CHECKING:
    from octohooks.v1.attempt_pb2 import Attempt
    from octohooks.v1.attempt_service_pb2 import AttemptEvent
    from octohooks.v1.delivery_pb2 import Delivery

_LONGEST_OUTCOME = len("succeeded")


def event_line(event: AttemptEvent) -> Text:
    """What happened, when, to which message, and what comes next."""
    if event.HasField("attempt"):
        return attempt_line(event.attempt)
    return _cancelled_line(event.cancelled_delivery)


def attempt_line(attempt: Attempt) -> Text:
    """What came of an attempt, and what comes next."""
    answer = Text.assemble(
        cell(attempt, "response_status") or cell(attempt, "error_kind"),
        " in ",
        cell(attempt, "duration"),
    )
    parts = [
        Text.assemble("attempt ", cell(attempt, "number")),
        answer,
        cell(attempt, "event_type"),
        cell(attempt, "message"),
        cell(attempt, "url"),
    ]
    if attempt.HasField("next_attempt_time"):
        parts.append(Text.assemble("next at ", cell(attempt, "next_attempt_time"), style="yellow"))
    elif cell(attempt, "delivery_status").plain == "failed":
        parts.append(Text("no attempts left", style="bold red"))
    return _line(cell(attempt, "start_time"), cell(attempt, "outcome"), parts)


def _cancelled_line(delivery: Delivery) -> Text:
    parts = [
        cell(delivery, "cancel_reason"),
        cell(delivery, "event_type"),
        cell(delivery, "message"),
        cell(delivery, "endpoint"),
    ]
    return _line(cell(delivery, "end_time"), cell(delivery, "status"), parts)


def _line(time: Text, outcome: Text, parts: list[Text]) -> Text:
    time.stylize("dim")
    outcome.pad_right(_LONGEST_OUTCOME - len(outcome))
    return Text("  ").join([time, outcome, *parts])
