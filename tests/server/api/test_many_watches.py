"""What a watch costs does not grow with the number of others."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import octohooks
import pytest
from octohooks import AsyncOctohooks, AsyncWatch
from octohooks_server.api import watch as watch_module
from sqlalchemy import Engine, event

from tests.receivers import Receiver
from tests.server.api.serving import Server, Tenant
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

_WATCHES = 200


@contextmanager
def statements() -> Iterator[list[str]]:
    """The texts of all statements that are executed in this process while the block runs."""
    texts: list[str] = []

    def note(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        texts.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield texts
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def watches_with_filters_of_their_own(
    client: AsyncOctohooks, stack: AsyncExitStack
) -> list[AsyncWatch]:
    """Many that wait, each for another event type."""
    watches = [
        await stack.enter_async_context(client.attempt.watch(event_types=[f"type.{number}"]))
        for number in range(_WATCHES)
    ]
    await asyncio.gather(*(watch.wait_until_live() for watch in watches))
    return watches


async def test_an_event_is_read_once_for_200_watches_with_200_filters(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await octohooks.application.create(uid="shop")
    await octohooks.endpoint.create("shop", url=receiver.url)
    async with AsyncExitStack() as stack:
        watches = await watches_with_filters_of_their_own(octohooks, stack)
        everything = await stack.enter_async_context(octohooks.attempt.watch())
        await everything.wait_until_live()
        count = 20
        with statements() as executed:
            for number in range(count):
                message = await octohooks.message.create(
                    "shop", event_type=f"type.{number}", payload={}
                )
                for watch in (watches[number], everything):
                    assert (await anext(watch)).attempt.message == message.id
        # The log is two tables, read after each commit, and now and then for want of news.
        reads = [text for text in executed if "FROM cancellations" in text]
        assert count <= len(reads) <= 2 * count


async def test_a_key_is_looked_at_once_for_all_of_its_watches(
    octohooks: AsyncOctohooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it is looked at far more often than every 3 seconds."""
    async with AsyncExitStack() as stack:
        monkeypatch.setattr(watch_module, "_KEY_CHECK_SECONDS", 0.05)
        with statements() as executed:
            begin = asyncio.get_running_loop().time()
            await watches_with_filters_of_their_own(octohooks, stack)

            async def looks() -> int:
                assert not [one async for one in octohooks.application.list()]
                count = sum(map(_is_a_look, executed))
                return count if count >= 3 else 0

            count = await eventually(looks)
            took = asyncio.get_running_loop().time() - begin
        # Once a second at the most, and once more for each of the two ends.
        assert count <= took + 3


def _is_a_look(text: str) -> bool:
    return text.startswith("SELECT") and "FROM api_keys" in text and "api_keys.id =" in text


async def test_a_revoked_key_ends_all_of_its_watches_and_no_others(
    server: Server, tenant: Tenant
) -> None:
    key = await server.new_key(tenant.id)
    watcher = await server.tenant(tenant.id, key)
    keys = [one async for one in tenant.octohooks.api_key.list()]
    (revoked,) = [one for one in keys if key.startswith(one.display_prefix)]
    async with AsyncExitStack() as stack:
        watches = await watches_with_filters_of_their_own(watcher.octohooks, stack)
        other = await stack.enter_async_context(tenant.octohooks.attempt.watch())
        await other.wait_until_live()
        left = asyncio.ensure_future(anext(other))
        with statements() as executed:
            await tenant.octohooks.api_key.revoke(revoked.id)
            ended = await asyncio.gather(
                *(anext(watch) for watch in watches), return_exceptions=True
            )
        assert {type(error) for error in ended} == {octohooks.Unauthenticated}
        assert not left.done()
        left.cancel()
        # Once for each of the two keys, and the other one's again and again.
        assert sum(map(_is_a_look, executed)) < _WATCHES / 4
