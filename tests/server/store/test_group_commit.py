"""Pieces of work that arrive together share a transaction and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar

import pytest
from octohooks_server.errors import NotFound, OctohooksError, Unavailable
from octohooks_server.store.database import Database
from octohooks_server.store.database.base import T, Work
from octohooks_server.store.group_commit import GroupCommit
from octohooks_server.store.tables import instance
from sqlalchemy import insert, select
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection


class HeldUp(Database):
    """A real database whose transactions begin when the test says so."""

    def __init__(self, real: Database) -> None:
        self._real = real
        self.is_writing = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def run(self, work: Work[T]) -> T:
        self.is_writing.set()
        await self.may_go_on.wait()
        return await self._real.run(work)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        async with self._real.write() as conn:
            yield conn

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        async with self._real.read() as conn:
            yield conn

    async def warm_up(self) -> None:
        await self._real.warm_up()

    async def run_migration(self, migrate: Callable[[Connection], None]) -> None:
        await self._real.run_migration(migrate)

    async def close(self) -> None:
        """Leaves it to whoever opened the real one."""


class OneChanges(HeldUp):
    """One that counts what it is given as one change."""

    def __init__(self, real: Database) -> None:
        super().__init__(real)
        self.one_changes = 0

    async def run_one_change(self, work: Work[T]) -> T:
        self.one_changes += 1
        return await super().run_one_change(work)


class Names:
    """Writes names into a table, and knows which came in one transaction."""

    def __init__(self, check: Callable[[str], None] = lambda name: None) -> None:
        """`check` may raise for a name, which harms the whole transaction."""
        self.groups: list[list[str]] = []
        self.committed: list[int | OctohooksError] = []
        self._check = check

    def take_note(self, results: Sequence[int | OctohooksError]) -> None:
        self.committed.extend(results)

    async def write(
        self, conn: AsyncConnection, names: Sequence[str]
    ) -> Sequence[int | OctohooksError]:
        self.groups.append(list(names))
        results: list[int | OctohooksError] = []
        for name in names:
            if name.startswith("refused"):
                results.append(NotFound("name", name))
                continue
            await conn.execute(insert(instance), {"name": name, "value": b""})
            self._check(name)
            results.append(len(name))
        return results


async def stored(database: Database) -> set[str]:
    async with database.read() as conn:
        return set((await conn.execute(select(instance.c.name))).scalars())


def numbered(count: int) -> list[str]:
    return [f"name {number}" for number in range(count)]


async def submitted_and_not_written(
    commits: GroupCommit[str, int], held_up: HeldUp, name: str
) -> asyncio.Task[int]:
    """An item that waits for others."""
    submitted = asyncio.create_task(commits.submit(name))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not held_up.is_writing.is_set()
    return submitted


async def test_a_submitted_item_is_stored_and_answered(database: Database) -> None:
    names = Names()
    commits: GroupCommit[str, int] = GroupCommit(database, names.write, names.take_note)
    assert await commits.submit("lone") == len("lone")
    assert await stored(database) == {"lone"}
    assert names.groups == [["lone"]]


async def test_items_that_arrive_together_share_one_transaction(database: Database) -> None:
    names = Names()
    commits: GroupCommit[str, int] = GroupCommit(database, names.write, names.take_note)
    wanted = numbered(120)
    results = await asyncio.gather(*map(commits.submit, wanted))
    assert names.groups == [wanted]
    assert results == [len(name) for name in wanted]
    assert await stored(database) == set(wanted)


async def test_items_that_arrive_during_a_write_share_the_next_transaction(
    database: Database,
) -> None:
    names = Names()
    held_up = HeldUp(database)
    commits: GroupCommit[str, int] = GroupCommit(held_up, names.write, names.take_note)
    first = asyncio.create_task(commits.submit("first"))
    await held_up.is_writing.wait()
    others = [asyncio.create_task(commits.submit(name)) for name in numbered(30)]
    await asyncio.sleep(0)
    held_up.may_go_on.set()
    await asyncio.gather(first, *others)
    assert names.groups == [["first"], numbered(30)]


async def test_a_transaction_holds_at_most_200_items(database: Database) -> None:
    names = Names()
    commits: GroupCommit[str, int] = GroupCommit(database, names.write, names.take_note)
    wanted = numbered(450)
    await asyncio.gather(*map(commits.submit, wanted))
    assert [len(group) for group in names.groups] == [200, 200, 50]
    assert await stored(database) == set(wanted)


async def test_an_error_among_the_results_is_for_its_own_submitter_alone(
    database: Database,
) -> None:
    names = Names()
    commits: GroupCommit[str, int] = GroupCommit(database, names.write, names.take_note)
    results = await asyncio.gather(
        commits.submit("one"), commits.submit("refused"), commits.submit("two"),
        return_exceptions=True,
    )  # fmt: skip
    assert [type(result) for result in results] == [int, NotFound, int]
    assert len(names.groups) == 1
    assert await stored(database) == {"one", "two"}


async def test_a_poisonous_item_fails_alone(database: Database) -> None:
    def check(name: str) -> None:
        if name == "poison":
            raise ValueError(name)

    names = Names(check)
    commits: GroupCommit[str, int] = GroupCommit(database, names.write, names.take_note)
    wanted = ["one", "poison", "two", "three"]
    results = await asyncio.gather(*map(commits.submit, wanted), return_exceptions=True)
    assert [type(result) for result in results] == [int, ValueError, int, int]
    assert await stored(database) == {"one", "two", "three"}
    assert names.committed == [len("one"), len("two"), len("three")]
    assert await commits.submit("afterwards") == len("afterwards")


async def test_a_constraint_that_one_item_breaks_fails_that_item_alone(database: Database) -> None:
    names = Names()
    commits: GroupCommit[str, int] = GroupCommit(database, names.write, names.take_note)
    await commits.submit("taken")
    results = await asyncio.gather(
        *map(commits.submit, ["one", "taken", "two"]), return_exceptions=True
    )
    assert [isinstance(result, Exception) for result in results] == [False, True, False]
    assert await stored(database) == {"taken", "one", "two"}


async def test_a_database_that_is_away_fails_the_group_without_trying_each_item(
    database: Database,
) -> None:
    away = True

    def check(name: str) -> None:
        if away:
            raise Unavailable("The database is away.")

    names = Names(check)
    commits: GroupCommit[str, int] = GroupCommit(database, names.write, names.take_note)
    results = await asyncio.gather(*map(commits.submit, numbered(20)), return_exceptions=True)
    assert {type(result) for result in results} == {Unavailable}
    assert len(names.groups) == 1
    assert names.committed == []
    assert await stored(database) == set()
    away = False
    assert await commits.submit("afterwards") == len("afterwards")


async def test_an_item_that_is_cancelled_before_its_group_is_written_is_not_stored(
    database: Database,
) -> None:
    names = Names()
    held_up = HeldUp(database)
    commits: GroupCommit[str, int] = GroupCommit(held_up, names.write, names.take_note)
    first = asyncio.create_task(commits.submit("first"))
    await held_up.is_writing.wait()
    given_up = asyncio.create_task(commits.submit("given up"))
    kept = asyncio.create_task(commits.submit("kept"))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    held_up.may_go_on.set()
    await asyncio.gather(first, kept)
    await commits.settle()
    assert given_up.cancelled()
    assert await stored(database) == {"first", "kept"}


async def test_an_item_that_is_cancelled_while_it_is_written_is_stored_whole(
    database: Database,
) -> None:
    names = Names()
    held_up = HeldUp(database)
    commits: GroupCommit[str, int] = GroupCommit(held_up, names.write, names.take_note)
    given_up = asyncio.create_task(commits.submit("given up"))
    await held_up.is_writing.wait()
    given_up.cancel()
    await asyncio.wait([given_up])
    assert names.committed == []
    held_up.may_go_on.set()
    await commits.settle()
    assert await stored(database) == {"given up"}
    # What follows from the commit does not depend on who waits for it.
    assert names.committed == [len("given up")]


async def test_settling_waits_for_all_that_was_submitted(database: Database) -> None:
    names = Names()
    commits: GroupCommit[str, int] = GroupCommit(database, names.write, names.take_note)
    wanted = numbered(450)
    submitted = [asyncio.create_task(commits.submit(name)) for name in wanted]
    await asyncio.sleep(0)
    await commits.settle()
    assert await stored(database) == set(wanted)
    await asyncio.gather(*submitted)


async def test_settling_what_never_had_anything_returns_at_once(database: Database) -> None:
    names = Names()
    commits: GroupCommit[str, int] = GroupCommit(database, names.write, names.take_note)
    await commits.settle()


async def test_an_item_waits_a_moment_for_others_that_are_known_to_come(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octohooks_server.store.group_commit._LINGER_SECONDS", 3600)
    names = Names()
    held_up = HeldUp(database)
    commits: GroupCommit[str, int] = GroupCommit(
        held_up, names.write, names.take_note, coming=lambda: 2
    )
    first = await submitted_and_not_written(commits, held_up, "first")
    second = asyncio.create_task(commits.submit("second"))
    held_up.may_go_on.set()
    await asyncio.gather(first, second)
    assert names.groups == [["first", "second"]]


async def test_a_lone_item_does_not_linger(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octohooks_server.store.group_commit._LINGER_SECONDS", 3600)
    names = Names()
    commits: GroupCommit[str, int] = GroupCommit(database, names.write, names.take_note)
    for name in numbered(3):
        await commits.submit(name)
    assert await stored(database) == set(numbered(3))


async def test_what_comes_soon_after_a_group_waits_for_as_many_as_came_before(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octohooks_server.store.group_commit._LINGER_SECONDS", 3600)
    names = Names()
    held_up = HeldUp(database)
    held_up.may_go_on.set()
    commits: GroupCommit[str, int] = GroupCommit(held_up, names.write, names.take_note)
    await asyncio.gather(*(commits.submit(name) for name in numbered(2)))
    held_up.is_writing.clear()
    first = await submitted_and_not_written(commits, held_up, "first")
    second = asyncio.create_task(commits.submit("second"))
    await asyncio.gather(first, second)
    assert names.groups == [numbered(2), ["first", "second"]]


async def test_those_that_waited_meanwhile_are_expected_with_those_that_were_answered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octohooks_server.store.group_commit._LINGER_SECONDS", 3600)
    names = Names()
    held_up = HeldUp(database)
    commits: GroupCommit[str, int] = GroupCommit(held_up, names.write, names.take_note)
    first = [asyncio.create_task(commits.submit(name)) for name in numbered(2)]
    await held_up.is_writing.wait()
    waiting = asyncio.create_task(commits.submit("waiting"))
    await asyncio.sleep(0)
    held_up.may_go_on.set()
    await asyncio.gather(*first)
    await asyncio.gather(waiting, *(commits.submit(name) for name in ("again", "once more")))
    assert names.groups == [numbered(2), ["waiting", "again", "once more"]]


async def test_as_many_as_came_in_an_earlier_load_are_not_expected_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The load ends with its group.
    monkeypatch.setattr("octohooks_server.store.group_commit._LINGER_SECONDS", 0)
    names = Names()
    commits: GroupCommit[str, int] = GroupCommit(database, names.write, names.take_note)
    await asyncio.gather(*(commits.submit(name) for name in numbered(10)))
    monkeypatch.setattr("octohooks_server.store.group_commit._LINGER_SECONDS", 3600)
    for pair in (("one", "two"), ("three", "four")):
        await asyncio.gather(*(commits.submit(name) for name in pair))
    assert names.groups == [numbered(10), ["one", "two"], ["three", "four"]]


async def test_what_is_expected_and_does_not_come_is_not_waited_for_for_long(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octohooks_server.store.group_commit._LINGER_SECONDS", 0.01)
    names = Names()
    commits: GroupCommit[str, int] = GroupCommit(
        database, names.write, names.take_note, coming=lambda: 100
    )
    await commits.submit("alone")
    assert await stored(database) == {"alone"}


@pytest.mark.one_database_is_enough
async def test_a_group_that_is_one_change_is_written_as_such(database: Database) -> None:
    names = Names()
    noting = OneChanges(database)
    noting.may_go_on.set()
    commits: GroupCommit[str, int] = GroupCommit(
        noting, names.write, names.take_note, makes_one_change=lambda items: len(items) == 1
    )
    await commits.submit("one")
    await asyncio.gather(*(commits.submit(name) for name in numbered(2)))
    assert await stored(database) == {"one", *numbered(2)}
    assert noting.one_changes == 1


@pytest.mark.one_database_is_enough
async def test_whoever_observes_is_told_of_every_group_stored_or_not(database: Database) -> None:
    seen: list[tuple[Sequence[str], Sequence[int | Exception]]] = []

    def check(name: str) -> None:
        if name == "poison":
            raise ValueError(name)

    names = Names(check)
    commits: GroupCommit[str, int] = GroupCommit(
        database,
        names.write,
        names.take_note,
        observe=lambda items, results, seconds: seen.append((items, results)),
    )
    await commits.submit("good")
    with pytest.raises(ValueError, match="poison"):
        await commits.submit("poison")
    (first, (stored_as,)), (second, (failed_by,)) = seen
    assert (first, stored_as, second) == (["good"], 4, ["poison"])
    assert isinstance(failed_by, ValueError)


@pytest.mark.one_database_is_enough
async def test_a_defect_behind_the_commit_is_told_and_leaves_nobody_waiting(
    database: Database,
) -> None:
    told: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def break_down(_: Sequence[int | OctohooksError]) -> None:
        raise ZeroDivisionError

    commits: GroupCommit[str, int] = GroupCommit(
        database, Names().write, break_down, on_defect=told.set_result
    )
    # It is on disk.
    assert await commits.submit("lone") == 4
    assert isinstance(await told, ZeroDivisionError)


@pytest.mark.one_database_is_enough
async def test_what_follows_a_commit_does_not_run_as_the_call_that_came_first(
    database: Database,
) -> None:
    call: ContextVar[str] = ContextVar("call", default="none")
    seen: list[str] = []
    commits: GroupCommit[str, int] = GroupCommit(
        database, Names().write, lambda _: seen.append(call.get())
    )
    call.set("the first call")
    await commits.submit("name")
    assert seen == ["none"]
