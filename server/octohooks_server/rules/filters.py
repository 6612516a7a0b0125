"""Which endpoints a message goes to, by event type and channel."""

from collections.abc import Collection
from enum import Enum


class Refusal(Enum):
    """The rule by which an endpoint does not want a message."""

    EVENT_TYPE = "event type"
    """The endpoint names event types, and not the message's."""
    CHANNEL = "channel"
    """The endpoint names channels, and the message has none of them."""


def refusal(
    endpoint_event_types: Collection[str],
    endpoint_channels: Collection[str],
    event_type: str,
    channels: Collection[str],
) -> Refusal | None:
    """The first rule that refuses the message; None when the endpoint wants it.

    An endpoint that names no event types wants all of them; one that names no channels wants all
    messages, with channels or without. Names are compared exactly.
    """
    if endpoint_event_types and event_type not in endpoint_event_types:
        return Refusal.EVENT_TYPE
    if endpoint_channels and not any(channel in endpoint_channels for channel in channels):
        return Refusal.CHANNEL
    return None


def wants(
    endpoint_event_types: Collection[str],
    endpoint_channels: Collection[str],
    event_type: str,
    channels: Collection[str],
) -> bool:
    """Whether an endpoint with these filters gets a message with this type and these channels."""
    return refusal(endpoint_event_types, endpoint_channels, event_type, channels) is None
