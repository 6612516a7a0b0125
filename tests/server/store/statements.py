"""The statements that the store runs, as the database is given them."""

from collections.abc import Iterator
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

    def note(_c: Any, _u: Any, statement: str, parameters: Any, _x: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
            seen.setdefault(statement, parameters[0] if many else parameters)

    async def fetch(conn: AsyncConnection, text: str, arguments: Any) -> Any:
        seen.setdefault(text, tuple(arguments))
        return await really_fetch(conn, text, arguments)

    really_fetch = prepared.fetch
    with pytest.MonkeyPatch.context() as patch:
        for module in (prepared, rows):
            patch.setattr(module, "fetch", fetch)
        event.listen(Engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            event.remove(Engine, "before_cursor_execute", note)
