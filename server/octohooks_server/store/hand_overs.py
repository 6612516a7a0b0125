"""Hand-overs: deliveries that one server claims in accepting them, for another one to attempt.

A server that takes calls alone leaves its deliveries to others. Were they stored as due, each would
have to be looked for, held and marked. So they are stored as claimed already, and one row lists all
that were accepted together: whoever deletes it has the claims, which is one server at the most. A
hand-over that nobody takes, or whose taker dies, is a claim that ends.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.store import claims
from octohooks_server.store.database import InsertRows, Prepared, Row, delete_first
from octohooks_server.store.due import DueDelivery
from octohooks_server.store.tables import hand_overs

# A delivery as it is before its first claim.
_NEW = {"claim": 0, "attempt_count": 0, "scheduled_count": 0, "manual_requests": 0}


@dataclass(frozen=True, slots=True)
class Taken:
    """What hand-overs that were taken are about."""

    # What is this server's to attempt.
    deliveries: Sequence[DueDelivery]
    # Whether some can no longer be attempted, and were made due for whoever ends them.
    left_due: bool
    # When the oldest of them was left; None where none holds any more.
    left_at: datetime | None


def row(claimed: Sequence[DueDelivery]) -> Row:
    """What leaves new deliveries that were claimed together to whichever server takes them."""
    messages: dict[str, dict[str, list[str]]] = {}
    for one in claimed:
        of_environment = messages.setdefault(one.destination.environment_id, {})
        of_environment.setdefault(one.destination.endpoint_id, []).append(one.message_id)
    return {
        "first_message_id": claimed[0].message_id,
        "left_at": claimed[0].created_at,
        "lease_ends_at": claimed[0].lease_ends_at,
        "messages": messages,
    }


async def take(conn: AsyncConnection, *, most: int) -> Sequence[Row]:
    """Takes the oldest hand-overs that no other server is just taking, by one statement."""
    return await _TAKE.rows(conn, most=most)


async def read(conn: AsyncConnection, taken: Sequence[Row], *, now: datetime) -> Taken:
    """What an attempt needs of each delivery in hand-overs that were taken.

    It changes things by one statement at the most, and may be done again where it failed.
    """
    # The others fall due by themselves.
    valid = [hand_over for hand_over in taken if hand_over["lease_ends_at"] > now]
    if not valid:
        return Taken((), left_due=False, left_at=None)
    found, ended = await claims.attemptable(
        conn,
        list(chain.from_iterable(map(_deliveries_of, valid))),
        now=now,
        lease_ends_at=min(hand_over["lease_ends_at"] for hand_over in valid),
    )
    # Whoever claims them ends them, with an event for each.
    unusable = {
        (row["environment_id"], row["message_id"], row["endpoint_id"]): row["claim"] + 1
        for row in chain.from_iterable(ended.values())
    }
    await claims.give_back_keys(conn, unusable, due_at=now)
    left_at = min(hand_over["left_at"] for hand_over in valid)
    return Taken(found, left_due=bool(unusable), left_at=left_at)


async def give_back(conn: AsyncConnection, taken: Sequence[Row]) -> None:
    """Leaves hand-overs that were taken and not read to whichever server takes them next."""
    await LEAVE.run(conn, taken)


def _deliveries_of(hand_over: Row) -> Iterator[dict[str, Any]]:
    for environment_id, of_environment in hand_over["messages"].items():
        for endpoint_id, message_ids in of_environment.items():
            for message_id in message_ids:
                yield {
                    **_NEW,
                    "environment_id": environment_id,
                    "endpoint_id": endpoint_id,
                    "message_id": message_id,
                    "created_at": hand_over["left_at"],
                }


LEAVE = InsertRows(hand_overs)
_TAKE = Prepared(lambda dialect: delete_first(dialect, hand_overs))
