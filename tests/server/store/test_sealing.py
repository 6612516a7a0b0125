"""Secrets in the database: sealed with a key, bound to their place, and sealed anew."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from octohooks_server.background import resealing as walk_module
from octohooks_server.background.resealing import Resealing
from octohooks_server.rules.keyring import CannotOpen, Keyring, key_id, key_id_of
from octohooks_server.store import endpoint_secrets, endpoints, instance, resealing
from octohooks_server.store import tables as t
from octohooks_server.store.database import Database, open_database
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from tests.server.delivery.loop_rig import running_loop
from tests.server.store.world import World

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
HEADERS = {"authorization": "Bearer canary-of-a-header"}


def ring(*keys: bytes) -> Keyring:
    return Keyring(keys, lambda count: bytes(range(count)))


@asynccontextmanager
async def opened(url: str, *keys: bytes) -> AsyncIterator[Database]:
    """The test's database in the hands of a server with these keys."""
    database = open_database(url, encryption_keys=keys)
    try:
        yield database
    finally:
        await database.close()


async def kept(database: Database) -> list[str]:
    """Every secret as it is kept."""
    async with database.read() as conn:
        return [
            *(await conn.scalars(select(t.endpoint_secrets.c.secret))),
            *(await conn.scalars(select(t.endpoints.c.headers).where(t.endpoints.c.headers != ""))),
            *[value.decode("latin-1") for value in await conn.scalars(select(t.instance.c.value))],
        ]


async def live_secrets(world: World, conn: AsyncConnection, id: str) -> list[str]:
    live = await endpoint_secrets.live_of(
        conn, id, environment_id=world.environment_id, now=world.now
    )
    return [one.secret for one in live]


async def read_all(world: World, endpoint_ids: list[str]) -> list[object]:
    """Every secret as it is used."""
    found: list[object] = []
    async with world.database.read() as conn:
        for id in endpoint_ids:
            found.append(await live_secrets(world, conn, id))
            application = await conn.scalar(
                select(t.endpoints.c.application_id).where(t.endpoints.c.id == id)
            )
            got = await endpoints.get(conn, application_id=str(application), reference=id)
            found.append(dict(got.headers))
    async with world.database.write() as conn:
        found.append(await instance.ensure_token_key(conn, bytes))
    return found


async def walk(database: Database, seals: Keyring) -> Resealing:
    done = Resealing(database, seals=seals)
    while await done.step():
        pass
    return done


async def test_with_a_key_nothing_secret_is_kept_plain(database_url: str) -> None:
    async with opened(database_url, NEW) as database:
        world = await World.make(database)
        ids = [await world.endpoint(await world.application(), headers=HEADERS)]
        used = await read_all(world, ids)
        assert used[1] == HEADERS
        assert str(used[0]).startswith("['whsec_")
        assert [key_id_of(one) for one in await kept(database)] == [key_id(NEW)] * 3


async def test_without_a_key_secrets_are_kept_as_they_are(world: World) -> None:
    await world.endpoint(await world.application(), headers=HEADERS)
    secret, headers = await kept(world.database)
    assert secret.startswith("whsec_")
    assert "canary-of-a-header" in headers


@pytest.mark.parametrize("column", ["secret", "headers"])
async def test_a_secret_that_was_moved_to_another_row_is_not_used(
    database_url: str, column: str
) -> None:
    """Whoever can write to the database cannot make one endpoint sign with another's secret."""
    async with opened(database_url, NEW) as database:
        world = await World.make(database)
        application = await world.application()
        one, other = [await world.endpoint(application, headers=HEADERS) for _ in range(2)]
        table = t.endpoints if column == "headers" else t.endpoint_secrets
        key = t.endpoints.c.id if column == "headers" else t.endpoint_secrets.c.endpoint_id
        async with database.write() as conn:
            moved = await conn.scalar(select(table.c[column]).where(key == one))
            await conn.execute(update(table).where(key == other).values({column: moved}))
        with pytest.raises(CannotOpen, match=f"{column} of {world.environment_id} {other}"):
            await read_all(world, [one, other])


async def test_a_replaced_secret_cannot_be_put_back_in_its_successors_place(
    database_url: str,
) -> None:
    async with opened(database_url, NEW) as database:
        world = await World.make(database)
        id = await world.endpoint(await world.application())
        async with database.write() as conn:
            await endpoint_secrets.add(
                conn,
                environment_id=world.environment_id,
                endpoint_id=id,
                secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                signature_type=1,
                replaced_expire_at=world.now,
                now=world.now,
            )
            column = t.endpoint_secrets.c
            first = await conn.scalar(select(column.secret).where(column.number == 1))
            await conn.execute(
                update(t.endpoint_secrets).where(column.number == 2).values(secret=first)
            )
            with pytest.raises(CannotOpen):
                await live_secrets(world, conn, id)


async def test_an_endpoint_whose_secret_does_not_open_gets_nothing_and_holds_up_nobody(
    database_url: str,
) -> None:
    """Its deliveries wait for a server with the key; never is one sent unsigned."""
    async with opened(database_url, OLD) as database:
        world = await World.make(database)
        application = await world.application()
        sealed = await world.endpoint(application, url="https://sealed.example.com/")
    async with opened(database_url, NEW) as database:
        world.database = database
        await world.endpoint(application, url="https://fine.example.com/")
        with capture_logs() as logs:
            async with running_loop(world) as rig:
                # One comes by acceptance, the other by a look.
                await rig.accept_and_hand_over(world.draft(application))
                (waiting,) = await world.send(application)
                rig.loop.look()
                for _ in range(2):
                    post = await rig.sender.next_post()
                    assert post.url == "https://fine.example.com/"
                    post.answer()
                await rig.recorded(2)
        refused = [line for line in logs if line["event"] == "delivery_not_signed"]
        assert {line["endpoint"] for line in refused} == {sealed}
        assert key_id(OLD) in refused[0]["reason"]
        assert (await world.delivery(waiting, sealed)).attempt_count == 0
    async with opened(database_url, NEW, OLD) as database:
        world.database = database
        world.pass_time(61)
        async with running_loop(world) as rig:
            posts = await rig.sender.answer_all(2)
            assert {post.url for post in posts} == {"https://sealed.example.com/"}


@pytest.mark.parametrize(
    ("before", "after"),
    [((), (NEW,)), ((OLD,), (NEW,)), ((NEW,), ())],
    ids=["from plain", "to a newer key", "back to plain"],
)
async def test_a_walk_puts_every_secret_under_another_key(
    database_url: str,
    before: tuple[bytes, ...],
    after: tuple[bytes, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(walk_module, "_ROWS_AT_ONCE", 2)
    async with opened(database_url, *before) as database:
        world = await World.make(database)
        application = await world.application()
        ids = [await world.endpoint(application, headers=HEADERS) for _ in range(3)]
        ids.append(await world.endpoint(application))
        used = await read_all(world, ids)
    async with opened(database_url, *after, *before) as database:
        world.database = database
        assert await read_all(world, ids) == used
        assert (await walk(database, ring(*after))).count == 8
        # A second one finds nothing to do.
        assert (await walk(database, ring(*after))).count == 0
    async with opened(database_url, *after) as database:
        world.database = database
        assert await read_all(world, ids) == used
        async with database.read() as conn:
            assert await resealing.count_by_key(conn) == {ring(*after).newest: 8}
            assert await resealing.missing_keys(conn) == []
    async with opened(database_url) as database, database.read() as conn:
        assert await resealing.missing_keys(conn) == [key_id(key) for key in after]


async def test_a_walk_that_was_cut_off_is_gone_on_with(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk_module, "_ROWS_AT_ONCE", 2)
    async with opened(database_url, NEW, OLD) as database:
        world = await World.make(database)
    async with opened(database_url, OLD) as old:
        world.database = old
        application = await world.application()
        for _ in range(5):
            await world.endpoint(application)
    async with opened(database_url, NEW, OLD) as database:
        cut = Resealing(database, seals=ring(NEW))
        assert await cut.step()
        assert await cut.step()
        assert cut.count == 2
        assert (await walk(database, ring(NEW))).count == 3


async def test_a_walk_leaves_what_does_not_open_and_says_so(database_url: str) -> None:
    async with opened(database_url, OLD) as database:
        world = await World.make(database)
        application = await world.application()
        good, bad = [await world.endpoint(application) for _ in range(2)]
        async with database.write() as conn:
            row = (await conn.execute(select(t.endpoint_secrets))).mappings().first()
            assert row is not None
            await conn.execute(
                update(t.endpoint_secrets)
                .where(t.endpoint_secrets.c.endpoint_id == bad)
                .values(secret=row["secret"][:-4] + "AAAA")
            )
    async with opened(database_url, NEW, OLD) as database:
        done = await walk(database, ring(NEW))
        assert done.count == 1
        (problem,) = done.left
        assert bad in problem
        assert good not in problem


async def test_what_was_plain_is_not_left_in_the_file(database_file: Path) -> None:
    async with opened(f"sqlite:///{database_file}") as database:
        world = await World.make(database)
        application = await world.application()
        for number in range(60):
            await world.endpoint(application, headers={"x": f"canary {number:03}" + "x" * 500})
        plain = await kept(database)
    async with opened(f"sqlite:///{database_file}", NEW) as database:
        assert (await walk(database, ring(NEW))).count == 120
    content = await asyncio.to_thread(database_file.read_bytes)
    assert not [one for one in plain if one.encode() in content]
