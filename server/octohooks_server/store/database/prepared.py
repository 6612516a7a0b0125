"""Statements of the hot paths: compiled once, and handed to the driver as text and plain values.

SQLAlchemy spends several times as much on running a statement as the drivers do. So it writes these
and says how their values are stored, but is not asked when they are run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import Select
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.types import TypeEngine

from octohooks_server.store.database.statements import POSTGRESQL

Statement = Select[Any] | UpdateBase
Row = Mapping[str, Any]
Convert = Callable[[Any], Any] | None


class Prepared:
    """A statement of SQLAlchemy's with named parameters."""

    def __init__(self, statement: Statement | Callable[[Dialect], Statement]) -> None:
        """`statement` may be what writes it, where dialects differ."""
        self._statement = statement
        self._forms: dict[str, _Form] = {}

    async def rows(self, conn: AsyncConnection, **parameters: Any) -> list[Row]:
        """Runs it; answers its rows, by the names of their columns."""
        form = self._form_for(conn)
        return form.rows(await fetch(conn, form.text, form.arguments(parameters)))

    async def tuples(self, conn: AsyncConnection, **parameters: Any) -> list[tuple[Any, ...]]:
        """Runs it; answers its rows, each with its values in the order of the columns."""
        form = self._form_for(conn)
        return form.tuples(await fetch(conn, form.text, form.arguments(parameters)))

    async def scalar(self, conn: AsyncConnection, **parameters: Any) -> Any:
        """Runs it; answers the first value of its first row, which it must have."""
        return (await self.tuples(conn, **parameters))[0][0]

    def _form_for(self, conn: AsyncConnection) -> "_Form":
        form = self._forms.get(conn.dialect.name)
        if form is None:
            statement = self._statement
            if callable(statement):
                statement = statement(conn.dialect)
            form = self._forms[conn.dialect.name] = _form(statement, conn.dialect)
        return form


@dataclass(frozen=True, slots=True)
class _Form:
    """A statement as one kind of database takes it."""

    text: str
    # In the order in which the driver takes them, with what turns a value into what is stored.
    parameters: Sequence[tuple[str, Convert]]
    # In the order in which the driver answers them, and what turns values of some of them back.
    columns: Sequence[str]
    converted: Sequence[tuple[int, Callable[[Any], Any]]]
    # What the statement itself says of its parameters.
    constants: Mapping[str, Any]

    def arguments(self, given: Mapping[str, Any]) -> list[Any]:
        values = {**self.constants, **given}
        return [
            values[name] if convert is None else convert(values[name])
            for name, convert in self.parameters
        ]

    def rows(self, found: Sequence[Sequence[Any]]) -> list[Row]:
        return [dict(zip(self.columns, values, strict=True)) for values in self.tuples(found)]

    def tuples(self, found: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        if not self.converted:
            return list(map(tuple, found))
        rows = []
        for row in found:
            values = list(row)
            for place, convert in self.converted:
                values[place] = convert(values[place])
            rows.append(tuple(values))
        return rows


def _form(statement: Statement, dialect: Dialect) -> _Form:
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    return _Form(
        text=compiled.string,
        parameters=[
            (name, to_stored(compiled.binds[name].type, dialect))
            for name in compiled.positiontup or ()
        ],
        columns=[column.key or "" for column in statement.exported_columns],
        converted=[
            (place, convert)
            for place, column in enumerate(statement.exported_columns)
            if (convert := _from_stored(column.type, dialect)) is not None
        ],
        constants=compiled.params,
    )


async def fetch(conn: AsyncConnection, text: str, arguments: Sequence[Any]) -> Any:
    """Runs a statement by the driver of a connection; answers its rows, as the driver does."""
    if conn.dialect.name == POSTGRESQL:
        return await driver(conn).fetch(text, *arguments)
    return await conn.run_sync(lambda _: driver(conn).execute(text, arguments).fetchall())


def driver(conn: AsyncConnection) -> Any:
    """The driver's own connection behind one of SQLAlchemy's."""
    connection = conn.sync_connection
    assert connection is not None
    return connection.connection.driver_connection


def to_stored(type_: TypeEngine[Any], dialect: Dialect) -> Convert:
    """What turns a value into what is stored; None where it is stored as it is."""
    return type_.dialect_impl(dialect).bind_processor(dialect)


def _from_stored(type_: TypeEngine[Any], dialect: Dialect) -> Convert:
    return type_.dialect_impl(dialect).result_processor(dialect, None)
