"""Statements of the hot paths: compiled once, and handed to the driver as text and plain values.

SQLAlchemy spends several times as much on running a statement as the drivers do. So it writes these
and says how their values are stored, but is not asked when they are run.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import Select
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.types import TypeEngine

from octohooks_server.store.database.statements import POSTGRESQL

Statement = Select[Any] | UpdateBase
Row = Mapping[str, Any]
_Convert = Callable[[Any], Any] | None

# Of one statement on SQLite, which allows 32,766 values.
_MOST_ROWS = 128


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
    parameters: Sequence[tuple[str, _Convert]]
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
            (name, _to_stored(compiled.binds[name].type, dialect))
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


class PreparedRows(ABC):
    """A change that is made for many rows at once, each with a value for each of some columns."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self._table = table
        self._columns: list[Column[Any]] = [table.c[name] for name in columns]
        self._values_of = itemgetter(*columns)
        # The places of the columns whose values are not stored as they are, with what turns them.
        self._to_stored: dict[str, Sequence[tuple[int, Callable[[Any], Any]]]] = {}
        # By how many rows a statement takes, on SQLite.
        self._texts: dict[int, str] = {}

    async def run(self, conn: AsyncConnection, rows: Sequence[Row]) -> None:
        """Makes the change for all of them."""
        if not rows:
            return
        columns = self._stored(rows, conn.dialect)
        if conn.dialect.name == POSTGRESQL:
            await self._run_on_postgresql(conn, columns)
            return
        begin = 0
        for count in _pieces(len(rows)):
            piece = zip(*(column[begin : begin + count] for column in columns), strict=True)
            text = self._text(conn.dialect, count)
            await fetch(conn, text, tuple(chain.from_iterable(piece)))
            begin += count

    @abstractmethod
    async def _run_on_postgresql(
        self, conn: AsyncConnection, columns: Sequence[Sequence[Any]]
    ) -> None:
        """Makes it for rows of which the values of each column are given, as they are stored."""

    def _stored(self, rows: Sequence[Row], dialect: Dialect) -> list[Sequence[Any]]:
        """The values of each column, as they are stored."""
        if dialect.name not in self._to_stored:
            self._to_stored[dialect.name] = [
                (place, convert)
                for place, column in enumerate(self._columns)
                if (convert := _to_stored(column.type, dialect)) is not None
            ]
        columns: list[Sequence[Any]] = list(zip(*map(self._values_of, rows), strict=True))
        for place, convert in self._to_stored[dialect.name]:
            columns[place] = _converted(columns[place], convert)
        return columns

    def _text(self, dialect: Dialect, count: int) -> str:
        if count not in self._texts:
            self._texts[count] = self._written(dialect, count)
        return self._texts[count]

    @abstractmethod
    def _written(self, dialect: Dialect, count: int) -> str:
        """The statement, for `count` rows on SQLite."""

    def _values(self, count: int) -> str:
        """The rows, each with all columns, for SQLite."""
        row = f"({', '.join('?' * len(self._columns))})"
        return f"VALUES {', '.join([row] * count)}"

    def _names(self, columns: Sequence[Column[Any]], dialect: Dialect) -> str:
        return ", ".join(dialect.identifier_preparer.quote(column.name) for column in columns)


def _pieces(count: int) -> Iterator[int]:
    """Powers of two that add up to a number, so that few statements serve for any of them."""
    while count:
        piece = min(1 << (count.bit_length() - 1), _MOST_ROWS)
        yield piece
        count -= piece


class InsertRows(PreparedRows):
    """An INSERT of rows that have all columns of a table."""

    def __init__(self, table: Table) -> None:
        super().__init__(table, table.c.keys())

    async def _run_on_postgresql(
        self, conn: AsyncConnection, columns: Sequence[Sequence[Any]]
    ) -> None:
        # COPY takes half of the time of an INSERT here, and a tenth less there.
        await _driver(conn.sync_connection).copy_records_to_table(
            self._table.name,
            columns=self._table.c.keys(),
            records=zip(*columns, strict=True),
        )

    def _written(self, dialect: Dialect, count: int) -> str:
        # Whoever is told of a failure rolls back, so SQLite need not keep what undoes a statement.
        return (
            f"INSERT OR FAIL INTO {self._table.name} ({self._names(self._columns, dialect)})"
            f" {self._values(count)}"
        )


class UpdateRows(PreparedRows):
    """An UPDATE of `changes` in the rows that are found by the columns `keys`, each once.

    The rows hold `within` too, which tells a database that is spread by that column which of its
    nodes to ask; they are found by `keys` alone.
    """

    def __init__(
        self, table: Table, *, within: str, keys: Sequence[str], changes: Sequence[str]
    ) -> None:
        super().__init__(table, [*changes, *keys, within])
        self._count = len(changes)
        self._texts_by_what_is_alike: dict[Sequence[int], str] = {}

    async def _run_on_postgresql(
        self, conn: AsyncConnection, columns: Sequence[Sequence[Any]]
    ) -> None:
        *of_rows, within = columns
        # Most rows change alike, and a list costs as much for each of them as a value for all.
        alike = tuple(
            place
            for place, values in enumerate(of_rows[: self._count])
            if values.count(values[0]) == len(values)
        )
        if alike not in self._texts_by_what_is_alike:
            self._texts_by_what_is_alike[alike] = self._text_for_postgresql(conn.dialect, alike)
        arguments = [
            values[0] if place in alike else list(values) for place, values in enumerate(of_rows)
        ]
        # Most often there is one, and no node can be told from a list that is joined with.
        arguments.append(list(set(within)))
        await fetch(conn, self._texts_by_what_is_alike[alike], arguments)

    def _text_for_postgresql(self, dialect: Dialect, alike: Sequence[int]) -> str:
        of_rows = self._columns[:-1]
        types = [_plain_type(column, dialect) for column in self._columns]
        values = {place: f"${place + 1}::{types[place]}" for place in alike}
        listed = [place for place in range(len(of_rows)) if place not in alike]
        lists = ", ".join(f"${place + 1}::{types[place]}[]" for place in listed)
        new = self._names([of_rows[place] for place in listed], dialect)
        names = [dialect.identifier_preparer.quote(column.name) for column in self._columns]
        equal = [f"{name} = {values.get(place, f'new.{name}')}" for place, name in enumerate(names)]
        equal[-1] = f"{names[-1]} = ANY (${len(names)}::{types[-1]}[])"
        return self._update(equal, f"unnest({lists}) AS new ({new})")

    def _written(self, dialect: Dialect, count: int) -> str:
        names = [dialect.identifier_preparer.quote(column.name) for column in self._columns]
        new = f"WITH new ({', '.join(names)}) AS ({self._values(count)})"
        return f"{new} {self._update([f'{name} = new.{name}' for name in names], 'new')}"

    def _update(self, equal: Sequence[str], source: str) -> str:
        """The statement, by what it says of each column and by where the rows are."""
        table = self._table.name
        changes = ", ".join(equal[: self._count])
        found = " AND ".join(f"{table}.{one}" for one in equal[self._count :])
        return f"UPDATE {table} SET {changes} FROM {source} WHERE {found}"


async def fetch(conn: AsyncConnection, text: str, arguments: Sequence[Any]) -> Any:
    """Runs a statement by the driver of a connection; answers its rows, as the driver does."""
    if conn.dialect.name == POSTGRESQL:
        return await _driver(conn.sync_connection).fetch(text, *arguments)
    return await conn.run_sync(lambda sync: _driver(sync).execute(text, arguments).fetchall())


def _converted(values: Sequence[Any], convert: Callable[[Any], Any]) -> list[Any]:
    """The values of a column as they are stored."""
    # Many columns have one value for all rows, such as the time.
    before = values[0]
    stored = convert(before)
    converted = []
    for value in values:
        if value is not before:
            before, stored = value, convert(value)
        converted.append(stored)
    return converted


def _driver(connection: Connection | None) -> Any:
    assert connection is not None
    return connection.connection.driver_connection


def _to_stored(type_: TypeEngine[Any], dialect: Dialect) -> _Convert:
    return type_.dialect_impl(dialect).bind_processor(dialect)


def _from_stored(type_: TypeEngine[Any], dialect: Dialect) -> _Convert:
    return type_.dialect_impl(dialect).result_processor(dialect, None)


def _plain_type(column: Column[Any], dialect: Dialect) -> str:
    """The type of a column, without its collation."""
    return column.type.compile(dialect).partition(" ")[0]
