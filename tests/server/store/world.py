"""An environment with applications, endpoints and messages, made by the store's own functions."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from octohooks.v1.application_pb2 import Application
from octohooks.v1.delivery_pb2 import Delivery
from octohooks.v1.endpoint_pb2 import SIGNATURE_TYPE_HMAC_SHA256, Endpoint
from octohooks.v1.environment_pb2 import Environment
from octohooks.v1.message_pb2 import Message
from octohooks_server.errors import OctohooksError
from octohooks_server.rules.ids import APPLICATION, ENDPOINT, ENVIRONMENT, MESSAGE, IdFactory
from octohooks_server.rules.signing import generate_hmac_secret
from octohooks_server.store import (
    applications,
    attempts,
    claims,
    deliveries,
    endpoint_secrets,
    endpoints,
    environments,
)
from octohooks_server.store import proto_values as values
from octohooks_server.store.acceptance import Accepted, Draft, accept, makes_one_change
from octohooks_server.store.attempts import Event
from octohooks_server.store.claims import Claimed
from octohooks_server.store.database import Database
from octohooks_server.store.due import DueDelivery, Outcome
from octohooks_server.store.due_choice import Choice, DueChooser
from octohooks_server.store.outcomes import Recorded, record_outcomes
from sqlalchemy.engine import RowMapping

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=60)


def seconds(count: float) -> timedelta:
    """A span of seconds."""
    return timedelta(seconds=count)


class World:
    """One environment, and a clock that stands still until it is moved."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOON
        self.ids = IdFactory(self.clock, os.urandom)
        self.environment_id = ""
        self._chooser = DueChooser()

    @classmethod
    async def make(cls, database: Database) -> "World":
        """A world with an environment and nothing in it."""
        world = cls(database)
        world.environment_id = await world.environment()
        return world

    def clock(self) -> datetime:
        """The time of this world."""
        return self.now

    def pass_time(self, count: float) -> datetime:
        """Moves the clock by seconds; answers the new time."""
        self.now += seconds(count)
        return self.now

    async def environment(self, **fields: Any) -> str:
        """Another environment."""
        async with self.database.write() as conn:
            made = await environments.create(
                conn,
                id=self.ids.new(ENVIRONMENT),
                environment=Environment(name="Test", **fields),
                now=self.now,
            )
        return made.id

    async def application(self, uid: str = "", environment_id: str | None = None) -> str:
        """A new application; answers its ID."""
        async with self.database.write() as conn:
            made = await applications.create(
                conn,
                environment_id=environment_id or self.environment_id,
                id=self.ids.new(APPLICATION),
                application=Application(uid=uid, name="A customer"),
                now=self.now,
            )
        return made.id

    async def endpoint(
        self,
        application_id: str,
        schedule: Sequence[timedelta] | None = None,
        environment_id: str | None = None,
        **fields: Any,
    ) -> str:
        """A new endpoint with a secret; answers its ID."""
        fields.setdefault("url", "https://example.com/hook")
        endpoint = Endpoint(signature_type=SIGNATURE_TYPE_HMAC_SHA256, **fields)
        if schedule is not None:
            made_of_steps = values.retry_schedule(schedule)
            assert made_of_steps is not None
            endpoint.retry_schedule.CopyFrom(made_of_steps)
        async with self.database.write() as conn:
            made = await endpoints.create(
                conn,
                environment_id=environment_id or self.environment_id,
                application_id=application_id,
                id=self.ids.new(ENDPOINT),
                endpoint=endpoint,
                now=self.now,
            )
            await endpoint_secrets.add(
                conn,
                environment_id=environment_id or self.environment_id,
                endpoint_id=made.id,
                secret=generate_hmac_secret(os.urandom),
                signature_type=SIGNATURE_TYPE_HMAC_SHA256,
                replaced_expire_at=self.now,
                now=self.now,
            )
        return made.id

    def draft(self, application: str, *, payload: bytes = b"{}", **fields: Any) -> Draft:
        """A message for an application, by ID or UID; `fields` of the message or of the draft."""
        of_draft = {
            name: fields.pop(name)
            for name in ("environment_id", "inline_application", "keyed", "addressed_to")
            if name in fields
        }
        message = Message(
            id=self.ids.new(MESSAGE), payload=payload, **{"event_type": "invoice.paid", **fields}
        )
        return Draft(
            application=application,
            message=message,
            **{"environment_id": self.environment_id, **of_draft},
        )

    async def accept(
        self,
        *drafts: Draft,
        may_claim: Callable[[str], bool] = lambda endpoint_id: False,
        hands_over: bool = False,
    ) -> list[Accepted | OctohooksError]:
        """Accepts drafts together, as a server does; what is due is left in the database."""
        is_one = makes_one_change(drafts)
        run = self.database.run_one_change if is_one else self.database.run
        return await run(
            lambda conn: accept(
                conn,
                drafts,
                now=self.now,
                lease=LEASE,
                may_claim=may_claim,
                hands_over=hands_over,
            )
        )

    async def send(self, application: str, count: int = 1, **fields: Any) -> list[str]:
        """Accepts messages that wait in the database; answers their IDs."""
        drafts = [self.draft(application, **fields) for _ in range(count)]
        results = await self.accept(*drafts)
        assert all(isinstance(result, Accepted) for result in results), results
        return [draft.message.id for draft in drafts]

    async def choose(
        self, *, limit: int = 1_000, room: Callable[[str], int] = lambda endpoint_id: 1_000
    ) -> Choice:
        """Chooses of what is due now, of each endpoint `room(its ID)` at the most."""
        left: dict[str, int] = {}

        def may_claim(endpoint_id: str) -> bool:
            left[endpoint_id] = left.get(endpoint_id, room(endpoint_id)) - 1
            return left[endpoint_id] >= 0

        async with self.database.read() as conn:
            return await self._chooser.choose(conn, now=self.now, limit=limit, may_claim=may_claim)

    async def claim_chosen(self, choice: Choice) -> Claimed:
        """Claims what was chosen."""
        async with self.database.write() as conn:
            return await claims.claim(conn, choice.keys, now=self.now, lease=LEASE)

    async def claim(self, **of_choice: Any) -> Claimed:
        """Claims what is due now; `of_choice` as `choose` takes it."""
        return await self.claim_chosen(await self.choose(**of_choice))

    async def claim_one(self) -> DueDelivery:
        """Claims the only delivery that is due."""
        (claimed,) = (await self.claim()).deliveries
        return claimed

    async def record(self, *outcomes: Outcome) -> list[Recorded]:
        """Records outcomes in one transaction."""
        async with self.database.write() as conn:
            return await record_outcomes(conn, outcomes, now=self.now, ids=self.ids)

    async def record_one(self, outcome: Outcome) -> Recorded:
        """Records one outcome."""
        (recorded,) = await self.record(outcome)
        return recorded

    async def delivery(self, message_id: str, endpoint_id: str) -> Delivery:
        """How a delivery stands."""
        async with self.database.read() as conn:
            return await deliveries.get(
                conn,
                environment_id=self.environment_id,
                message_id=message_id,
                endpoint_id=endpoint_id,
            )

    async def endpoint_now(self, application_id: str, endpoint_id: str) -> Endpoint:
        """How an endpoint stands."""
        async with self.database.read() as conn:
            return await endpoints.get(conn, application_id=application_id, reference=endpoint_id)

    async def events(self, environment_id: str | None = None) -> list[Event]:
        """The whole log of the environment."""
        async with self.database.read() as conn:
            return await attempts.read_events(
                conn, environment_id=environment_id or self.environment_id, after=0, limit=100_000
            )

    async def execute(self, statement: Any, rows: Any = None) -> Sequence[RowMapping]:
        """Runs a statement of the test's own."""
        async with self.database.write() as conn:
            result = await conn.execute(statement, rows)
            return result.mappings().all() if result.returns_rows else []

    def outcome(
        self,
        delivery: DueDelivery,
        status: int = 500,
        retry_in: float | None = 5.0,
        **changes: Any,
    ) -> Outcome:
        """An outcome with this status, whose retry is due in so many seconds; None for no retry."""
        succeeded = 200 <= status <= 299
        fields: dict[str, Any] = {
            "started_at": self.now,
            "duration": seconds(0.1),
            "succeeded": succeeded,
            "response_status": status,
            "response_headers": [("x-own", "1")],
            "response_body": b"answer",
            "response_body_truncated": False,
            "error_kind": 0 if succeeded else 1,
            "error_detail": "" if succeeded else "It failed.",
            "retry_at": None if retry_in is None else self.now + seconds(retry_in),
            "endpoint_gone": status == 410,
        }
        return Outcome(delivery=delivery, **{**fields, **changes})
