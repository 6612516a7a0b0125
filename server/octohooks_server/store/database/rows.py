"""Changes of many rows by one statement, which is written once for each of its forms.

SQLite takes all values of all rows, in pieces; PostgreSQL a list for each column.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.store.database.prepared import Row, driver, fetch, to_stored
from octohooks_server.store.database.statements import POSTGRESQL

# Of one statement on SQLite, which allows 32,766 values.
_MOST_ROWS = 128


class PreparedRows(ABC):
    """A change that is made for many rows at once, each with a value for each of some columns."""

    def __init__(self, table: Table, columns: Sequence[str], *, keys: Collection[str]) -> None:
        self._table = table
        self._columns: list[Column[Any]] = [table.c[name] for name in columns]
        self._values_of = itemgetter(*columns)
        # The places of the columns whose values are not stored as they are, with what turns them.
        self._to_stored: dict[str, Sequence[tuple[int, Callable[[Any], Any]]]] = {}
        # By how many rows a statement takes, on SQLite.
        self._texts: dict[int, str] = {}
        # On PostgreSQL, the places of the columns that are given as lists: the keys, and all whose
        # values have ever differed. The others are given as one value for all rows, since a list
        # costs as much for each of them. It only grows, so that few statements are ever prepared.
        self._listed = {place for place, name in enumerate(columns) if name in keys}
        # By how many are lists, and how many parameters come before.
        self._texts_with_lists: dict[tuple[int, int], str] = {}

    async def run(self, conn: AsyncConnection, rows: Sequence[Row]) -> None:
        """Makes the change for all of them."""
        if not rows:
            return
        if conn.dialect.name == POSTGRESQL:
            await fetch(conn, *self.with_lists(rows, conn.dialect))
            return
        columns = self._stored(rows, conn.dialect)
        begin = 0
        for count in _pieces(len(rows)):
            piece = zip(*(column[begin : begin + count] for column in columns), strict=True)
            text = self._text(conn.dialect, count)
            await fetch(conn, text, tuple(chain.from_iterable(piece)))
            begin += count

    def with_lists(
        self, rows: Sequence[Row], dialect: Dialect, parameters_before: int = 0
    ) -> tuple[str, Sequence[Any]]:
        """The statement for all rows, as PostgreSQL takes it, and its arguments."""
        columns = self._stored(rows, dialect)
        for place, values in enumerate(columns):
            if place not in self._listed and values.count(values[0]) < len(values):
                self._listed.add(place)
        form = (len(self._listed), parameters_before)
        if form not in self._texts_with_lists:
            self._texts_with_lists[form] = self._written_with_lists(dialect, parameters_before)
        return self._texts_with_lists[form], self._arguments(columns)

    def _stored(self, rows: Sequence[Row], dialect: Dialect) -> list[Sequence[Any]]:
        """The values of each column, as they are stored."""
        if dialect.name not in self._to_stored:
            self._to_stored[dialect.name] = [
                (place, convert)
                for place, column in enumerate(self._columns)
                if (convert := to_stored(column.type, dialect)) is not None
            ]
        columns: list[Sequence[Any]] = list(zip(*map(self._values_of, rows), strict=True))
        for place, convert in self._to_stored[dialect.name]:
            columns[place] = _converted(columns[place], convert)
        return columns

    def _arguments(self, columns: Sequence[Sequence[Any]]) -> Sequence[Any]:
        return [
            values if place in self._listed else values[0] for place, values in enumerate(columns)
        ]

    @abstractmethod
    def _written_with_lists(self, dialect: Dialect, parameters_before: int) -> str:
        """The statement on PostgreSQL."""

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

    def _names(self, dialect: Dialect) -> list[str]:
        return [dialect.identifier_preparer.quote(column.name) for column in self._columns]

    def _parameters(self, dialect: Dialect, before: int) -> list[str]:
        """The parameter of each column on PostgreSQL."""
        return [
            f"${before + 1 + place}::{_plain_type(column, dialect)}"
            f"{'[]' if place in self._listed else ''}"
            for place, column in enumerate(self._columns)
        ]

    def _new(self, names: Sequence[str], parameters: Sequence[str]) -> tuple[Sequence[str], str]:
        """What each column gets on PostgreSQL, and the table `new` of those that are lists."""
        listed = [place for place in range(len(names)) if place in self._listed]
        values = [
            f"new.{name}" if place in self._listed else parameters[place]
            for place, name in enumerate(names)
        ]
        lists = ", ".join(parameters[place] for place in listed)
        return values, f"unnest({lists}) AS new ({', '.join(names[place] for place in listed)})"


def _pieces(count: int) -> Iterator[int]:
    """Powers of two that add up to a number, so that few statements serve for any of them."""
    while count:
        piece = min(1 << (count.bit_length() - 1), _MOST_ROWS)
        yield piece
        count -= piece


class InsertRows(PreparedRows):
    """An INSERT of rows that have all columns of a table."""

    def __init__(self, table: Table) -> None:
        super().__init__(table, table.c.keys(), keys=table.primary_key.columns.keys())

    async def run_large(self, conn: AsyncConnection, rows: Sequence[Row]) -> None:
        """Like `run`, for rows of more than some 50 KB.

        PostgreSQL gets them by COPY, one behind the other: a list is copied several times as it is
        put together and taken apart, which costs nothing else until it is large.
        """
        if not rows or conn.dialect.name != POSTGRESQL:
            await self.run(conn, rows)
            return
        stored = zip(*self._stored(rows, conn.dialect), strict=True)
        await copy_into(conn, self._table, stored)

    def _written_with_lists(self, dialect: Dialect, parameters_before: int) -> str:
        names = self._names(dialect)
        values, new = self._new(names, self._parameters(dialect, parameters_before))
        into = f"{self._table.name} ({', '.join(names)})"
        return f"INSERT INTO {into} SELECT {', '.join(values)} FROM {new}"

    def _written(self, dialect: Dialect, count: int) -> str:
        # Whoever is told of a failure rolls back, so SQLite need not keep what undoes a statement.
        return (
            f"INSERT OR FAIL INTO {self._table.name} ({', '.join(self._names(dialect))})"
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
        super().__init__(table, [*changes, *keys, within], keys=[*keys, within])
        self._count = len(changes)

    def _arguments(self, columns: Sequence[Sequence[Any]]) -> Sequence[Any]:
        *of_rows, within = columns
        # Most often there is one, and no node can be told from a list that is joined with.
        return [*super()._arguments(of_rows), list(set(within))]

    def _written_with_lists(self, dialect: Dialect, parameters_before: int) -> str:
        *names, within = self._names(dialect)
        *parameters, nodes = self._parameters(dialect, parameters_before)
        values, new = self._new(names, parameters)
        equal = [f"{name} = {value}" for name, value in zip(names, values, strict=True)]
        return self._update([*equal, f"{within} = ANY ({nodes})"], new)

    def _written(self, dialect: Dialect, count: int) -> str:
        names = self._names(dialect)
        new = f"WITH new ({', '.join(names)}) AS ({self._values(count)})"
        return f"{new} {self._update([f'{name} = new.{name}' for name in names], 'new')}"

    def _update(self, equal: Sequence[str], source: str) -> str:
        """The statement, by what it says of each column and by where the rows are."""
        table = self._table.name
        changes = ", ".join(equal[: self._count])
        found = " AND ".join(f"{table}.{one}" for one in equal[self._count :])
        return f"UPDATE {table} SET {changes} FROM {source} WHERE {found}"


async def copy_into(conn: AsyncConnection, table: Table, rows: Iterable[Sequence[Any]]) -> None:
    """Adds rows on PostgreSQL: all columns in the table's order, as the driver takes them."""
    await driver(conn).copy_records_to_table(table.name, records=rows, columns=table.c.keys())


async def run_together(conn: AsyncConnection, *changes: tuple[PreparedRows, Sequence[Row]]) -> None:
    """Makes changes in different tables, on PostgreSQL by one statement, which takes one trip."""
    of_rows = [(change, rows) for change, rows in changes if rows]
    if conn.dialect.name != POSTGRESQL:
        for change, rows in of_rows:
            await change.run(conn, rows)
    elif of_rows:
        texts: list[str] = []
        arguments: list[Any] = []
        for change, rows in of_rows:
            text, more = change.with_lists(rows, conn.dialect, len(arguments))
            texts.append(text)
            arguments.extend(more)
        *others, last = texts
        parts = ", ".join(f"part_{number} AS ({text})" for number, text in enumerate(others))
        await fetch(conn, f"WITH {parts} {last}" if parts else last, arguments)


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


def _plain_type(column: Column[Any], dialect: Dialect) -> str:
    """The type of a column, without its collation."""
    return column.type.compile(dialect).partition(" ")[0]
