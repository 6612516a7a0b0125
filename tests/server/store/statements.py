"""The statements that the store runs, as the database is given them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from octohooks_server.store.database import prepared, rows
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncConnection


@contextmanager
def statements_of_the_store() -> Iterator[dict[str, Any]]:
    """The statements that are run in the block, each with its first parameters."""
    seen: dict[str, Any] = {}
    with _noting(seen.setdefault):
        yield seen


@contextmanager
def runs_of_the_store() -> Iterator[list[str]]:
    """The statements that are run in the block, one behind the other."""
    runs: list[str] = []
    with _noting(lambda statement, _: runs.append(statement)):
        yield runs


@contextmanager
def _noting(note: Callable[[str, Any], object]) -> Iterator[None]:
    """Calls `note` with each statement and its parameters, of several the first ones."""

    def note_cursor(_c: Any, _u: Any, statement: str, parameters: Any, _x: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
            note(statement, parameters[0] if many else parameters)

    async def fetch(conn: AsyncConnection, text: str, arguments: Any) -> Any:
        note(text, tuple(arguments))
        return await really_fetch(conn, text, arguments)

    really_fetch = prepared.fetch
    with pytest.MonkeyPatch.context() as patch:
        for module in (prepared, rows):
            patch.setattr(module, "fetch", fetch)
        event.listen(Engine, "before_cursor_execute", note_cursor)
        try:
            yield
        finally:
            event.remove(Engine, "before_cursor_execute", note_cursor)
