"""Acceptance: a message, its deliveries and its idempotent answer become durable together."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp
from octohooks.v1.application_pb2 import Application
from octohooks.v1.message_pb2 import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.errors import AlreadyExists, FailedPrecondition, NotFound, OctohooksError
from octohooks_server.rules.filters import wants
from octohooks_server.store import addressees, applications, hand_overs, idempotency
from octohooks_server.store import proto_values as values
from octohooks_server.store.addressees import Addressee, Reference
from octohooks_server.store.database import InsertRows, Row, insert_unless_taken, run_together
from octohooks_server.store.deliveries import new_row
from octohooks_server.store.destinations import Destination
from octohooks_server.store.due import DueDelivery
from octohooks_server.store.idempotency import Earlier, Key, KeyedRequest
from octohooks_server.store.tables import deliveries, messages

_INSERT_MESSAGES = InsertRows(messages)
_INSERT_DELIVERIES = InsertRows(deliveries)
# From here on a payload is stored by a statement of its own.
_LARGE_PAYLOAD_BYTES = 64 * 1024


class Draft(NamedTuple):
    """A checked message that waits to be accepted."""

    environment_id: str
    # The ID or UID of the application.
    application: str
    # Its ID is taken as it is.
    message: Message
    # What to make when no application has the UID `application`; its ID is taken as it is.
    inline_application: Application | None = None
    keyed: KeyedRequest | None = None
    # The only endpoint that it is for, whatever the filters; None for all that want it.
    addressed_to: str | None = None
    # Whether `application` is the ID of the environment's own application.
    is_operational: bool = False
    # The trace that its attempts continue, as a W3C `traceparent`.
    trace_parent: str | None = None


class Accepted(NamedTuple):
    """A message as it was stored, without its payload."""

    message: Message
    # The deliveries that this transaction claimed, for this server or for one that takes them over.
    claimed: Sequence[DueDelivery] = ()
    # Whether deliveries are due that it did not claim.
    left_due: bool = False
    # Whether it was stored by an earlier call with the same idempotency key.
    is_repetition: bool = False


async def accept(
    conn: AsyncConnection,
    drafts: Sequence[Draft],
    *,
    now: datetime,
    lease: timedelta,
    may_claim: Callable[[str], bool],
    hands_over: bool = False,
) -> list[Accepted | OctohooksError]:
    """Stores messages with a delivery for each endpoint that wants them; one result per draft.

    A first attempt that is due at once is claimed where `may_claim` says so of the endpoint, so
    that it need not be looked for; the others wait in the database. It is claimed for this server,
    or where it `hands_over` for whichever one takes it.
    """
    earlier = await idempotency.reserve(
        conn, [draft.keyed for draft in drafts if draft.keyed is not None], now=now
    )
    first_uses = list(_first_uses(drafts, earlier))
    found = await _find_addressees(conn, first_uses, now=now)
    group = _Group(found, now, lease, may_claim)
    refused = await group.take(conn, first_uses)
    await group.store(conn, hands_over=hands_over)
    results = await _finish(conn, drafts, group, refused, earlier)
    # A request that failed has left its key to the other ones that came with it.
    left = [index for index, result in enumerate(results) if result is None]
    again = [drafts[index] for index in left]
    answers = (
        await accept(conn, again, now=now, lease=lease, may_claim=may_claim, hands_over=hands_over)
        if left
        else []
    )
    late = dict(zip(left, answers, strict=True))
    return [result or late[index] for index, result in enumerate(results)]


def makes_one_change(drafts: Sequence[Draft]) -> bool:
    """Whether `accept` stores these by one statement, and changes nothing before."""
    return not any(
        draft.keyed is not None
        or draft.inline_application is not None
        or draft.message.uid
        or _is_large(draft.message.payload)
        for draft in drafts
    )


class _Group:
    """The messages that are stored together, while they are being put together."""

    def __init__(
        self,
        addressees: Mapping[Reference, Addressee],
        now: datetime,
        lease: timedelta,
        may_claim: Callable[[str], bool],
    ) -> None:
        self._addressees = addressees
        self._now = now
        self._lease = lease
        self._may_claim = may_claim
        self._create_time = values.timestamp(now)
        self._expire_times: dict[datetime, Timestamp | None] = {}
        # What is still to be stored.
        self._message_rows: list[Row] = []
        self._delivery_rows: list[Row] = []
        self.accepted: dict[str, Accepted] = {}

    async def take(
        self, conn: AsyncConnection, drafts: Sequence[Draft]
    ) -> dict[str, OctohooksError]:
        """Takes drafts that are to be stored; answers, by message ID, why some cannot be.

        Those with a UID are stored at once, since it may be taken.
        """
        refused: dict[str, OctohooksError] = {}
        with_uid: list[tuple[Draft, Addressee, Row]] = []
        for draft in drafts:
            addressee = self._addressees.get(_reference(draft))
            # The environment's own application is nothing that a caller may name.
            if addressee is None or addressee.is_operational != draft.is_operational:
                refused[draft.message.id] = NotFound("application", draft.application)
                continue
            row = _message_row(draft, addressee, self._now)
            if draft.message.uid:
                with_uid.append((draft, addressee, row))
            else:
                self._message_rows.append(row)
                self._accept(draft, addressee, row)
        made = await _insert_unless_uid_is_taken(conn, [row for _, _, row in with_uid])
        for draft, addressee, row in with_uid:
            if row["id"] in made:
                self._accept(draft, addressee, row)
            else:
                refused[draft.message.id] = AlreadyExists("message", draft.message.uid)
        return refused

    async def store(self, conn: AsyncConnection, *, hands_over: bool) -> None:
        """Stores what was taken, with a delivery for each endpoint that wants it."""
        left = [one for accepted in self.accepted.values() for one in accepted.claimed]
        large = [row for row in self._message_rows if _is_large(row["payload"])]
        small = [row for row in self._message_rows if not _is_large(row["payload"])]
        await _INSERT_MESSAGES.run_large(conn, large)
        await run_together(
            conn,
            (_INSERT_MESSAGES, small),
            (_INSERT_DELIVERIES, self._delivery_rows),
            (hand_overs.LEAVE, [hand_overs.row(left)] if hands_over and left else ()),
        )

    def _accept(self, draft: Draft, addressee: Addressee, row: Row) -> None:
        claimed = []
        left_due = False
        for endpoint, destination in addressee.endpoints:
            if _goes_to(endpoint, draft):
                delivery = self._deliver(draft, destination)
                if delivery is not None:
                    claimed.append(delivery)
                elif not destination.schedule[0]:
                    left_due = True
        message = self._stored_message(draft.message, row)
        self.accepted[message.id] = Accepted(message, claimed, left_due)

    def _stored_message(self, message: Message, row: Row) -> Message:
        """The message as it was stored, without its payload."""
        expires_at = row["payload_expires_at"]
        if expires_at not in self._expire_times:
            self._expire_times[expires_at] = values.timestamp(expires_at)
        stored = Message(
            id=message.id,
            uid=message.uid,
            application=row["application_id"],
            event_type=message.event_type,
            payload_retention=values.duration(row["payload_retention"]),
            payload_expire_time=self._expire_times[expires_at],
            create_time=self._create_time,
        )
        # Most have none, and protobuf takes as long to copy an empty collection as all of the
        # others.
        if row["channels"]:
            stored.channels.extend(row["channels"])
        if row["tags"]:
            stored.tags.update(row["tags"])
        return stored

    def _deliver(self, draft: Draft, destination: Destination) -> DueDelivery | None:
        message = draft.message
        due_at = self._now + destination.schedule[0]
        claims = due_at <= self._now and self._may_claim(destination.endpoint_id)
        lease_ends_at = self._now + self._lease
        self._delivery_rows.append(
            new_row(
                environment_id=destination.environment_id,
                application_id=destination.application_id,
                endpoint_id=destination.endpoint_id,
                message_id=message.id,
                scheduled_at=due_at,
                lease_ends_at=lease_ends_at if claims else None,
                now=self._now,
            )
        )
        if not claims:
            return None
        return DueDelivery(
            destination=destination,
            message_id=message.id,
            event_type=message.event_type,
            payload=message.payload,
            claim=1,
            attempt_count=0,
            scheduled_count=0,
            manual=False,
            created_at=self._now,
            lease_ends_at=lease_ends_at,
            trace_parent=draft.trace_parent,
        )


async def _find_addressees(
    conn: AsyncConnection, drafts: Sequence[Draft], *, now: datetime
) -> Mapping[Reference, Addressee]:
    """The application of each reference that has one, made where a draft asks for it."""
    found = await addressees.find(conn, map(_reference, drafts), now=now)
    missing = [
        draft
        for draft in drafts
        if draft.inline_application is not None and _reference(draft) not in found
    ]
    # In one order, so that two transactions never wait for each other.
    for draft in sorted(missing, key=_reference):
        assert draft.inline_application is not None
        await applications.ensure(
            conn,
            environment_id=draft.environment_id,
            application=draft.inline_application,
            now=now,
        )
    if missing:
        found.update(await addressees.find(conn, map(_reference, missing), now=now))
    return found


def _reference(draft: Draft) -> Reference:
    return draft.environment_id, draft.application


def _is_large(payload: bytes) -> bool:
    return len(payload) >= _LARGE_PAYLOAD_BYTES


async def _insert_unless_uid_is_taken(
    conn: AsyncConnection, rows: Sequence[Row]
) -> Collection[str]:
    """The IDs of those messages that could be inserted."""
    if not rows:
        return ()
    made = await conn.execute(
        insert_unless_taken(conn, messages).returning(messages.c.id),
        # In one order, so that two transactions never wait for each other.
        sorted(rows, key=lambda row: (row["application_id"], row["uid"])),
    )
    return set(made.scalars())


def _first_uses(drafts: Sequence[Draft], earlier: Mapping[Key, Earlier]) -> Iterator[Draft]:
    """The drafts that are not answered by what their key was used for before, or in this group."""
    seen = set(earlier)
    for draft in drafts:
        if draft.keyed is not None:
            if draft.keyed.key in seen:
                continue
            seen.add(draft.keyed.key)
        yield draft


async def _finish(
    conn: AsyncConnection,
    drafts: Sequence[Draft],
    group: _Group,
    refused: Mapping[str, OctohooksError],
    earlier: Mapping[Key, Earlier],
) -> list[Accepted | OctohooksError | None]:
    """The result of each draft, and the answers kept for those that carried a key.

    None for a draft whose key another request had, which failed: it has not been looked at.
    """
    results: list[Accepted | OctohooksError | None] = []
    kept: dict[Key, tuple[KeyedRequest, Accepted]] = {}
    released: dict[Key, tuple[KeyedRequest, OctohooksError]] = {}
    for draft in drafts:
        keyed = draft.keyed
        if keyed is None:
            results.append(group.accepted.get(draft.message.id) or refused[draft.message.id])
            continue
        key = keyed.key
        if key in earlier:
            results.append(_repeated(keyed, earlier[key].request_hash, earlier[key].answer))
        elif key in kept:
            first, accepted = kept[key]
            results.append(
                _repeated(keyed, first.request_hash, accepted.message.SerializeToString())
            )
        elif key in released:
            failed, error = released[key]
            results.append(error if failed.request_hash == keyed.request_hash else None)
        elif draft.message.id in refused:
            released[key] = (keyed, refused[draft.message.id])
            results.append(refused[draft.message.id])
        else:
            accepted = group.accepted[draft.message.id]
            kept[key] = (keyed, accepted)
            results.append(accepted)
    await idempotency.keep(
        conn,
        [(keyed, accepted.message.SerializeToString()) for keyed, accepted in kept.values()],
    )
    await idempotency.release(conn, [keyed for keyed, _ in released.values()])
    return results


def _repeated(keyed: KeyedRequest, request_hash: bytes, answer: bytes) -> Accepted | OctohooksError:
    try:
        keyed.require_same(request_hash)
    except FailedPrecondition as error:
        return error
    return Accepted(Message.FromString(answer), is_repetition=True)


def _goes_to(endpoint: Row, draft: Draft) -> bool:
    if draft.addressed_to is not None:
        return bool(endpoint["id"] == draft.addressed_to)
    return wants(
        endpoint_event_types=endpoint["event_types"] or (),
        endpoint_channels=endpoint["channels"] or (),
        event_type=draft.message.event_type,
        channels=draft.message.channels,
    )


def _message_row(draft: Draft, addressee: Addressee, now: datetime) -> Row:
    message = draft.message
    own = values.span(message.payload_retention) if message.HasField("payload_retention") else None
    return {
        "id": message.id,
        "environment_id": draft.environment_id,
        "application_id": addressee.application_id,
        "uid": message.uid or None,
        "event_type": message.event_type,
        "channels": sorted(set(message.channels)) if message.channels else None,
        "tags": dict(message.tags) if message.tags else None,
        "payload_retention": own,
        "payload_expires_at": now + (own or addressee.payload_retention),
        "created_at": now,
        "addressed_to": draft.addressed_to,
        "trace_parent": draft.trace_parent,
        "payload": message.payload,
    }
