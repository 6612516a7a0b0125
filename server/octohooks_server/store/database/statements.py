"""Statements and parts of statements that each database writes in its own way."""

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any

import orjson
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    String,
    Table,
    Text,
    any_,
    bindparam,
    delete,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import ReturningDelete
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine

POSTGRESQL = "postgresql"


def insert_unless_taken(conn: AsyncConnection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that makes no row where a unique key is taken, instead of failing.

    With `returning()` it tells which rows were made. Where another transaction is about to take the
    key, it waits for its end.
    """
    if conn.dialect.name == POSTGRESQL:
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


def insert_or_replace(
    conn: AsyncConnection, table: Table, *, where: ColumnElement[bool]
) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that, where the primary key is taken, replaces that row if `where` is true of it.

    With `returning()` it tells which rows were made or replaced. Where another transaction holds
    the key or is about to take it, it waits for its end; the row is this transaction's afterwards,
    replaced or not.
    """
    insert = postgresql.insert if conn.dialect.name == POSTGRESQL else sqlite.insert
    made = insert(table)
    return made.on_conflict_do_update(
        index_elements=list(table.primary_key),
        set_={column.name: column for column in made.excluded if not column.primary_key},
        where=where,
    )


def delete_first(dialect: Dialect, table: Table) -> ReturningDelete[Any]:
    """A DELETE that answers the rows that it took: the first `most` by the table's primary key.

    Those that another transaction is just taking are passed over.
    """
    (key,) = table.primary_key
    is_postgresql = dialect.name == POSTGRESQL
    # By its place, PostgreSQL goes straight to a row that it has found.
    place: ColumnElement[Any] = literal_column("ctid") if is_postgresql else key
    first = (
        select(place)
        .select_from(table)
        .order_by(key)
        .limit(bindparam("most", type_=Integer))
        .with_for_update(skip_locked=True)
    )
    is_first = (
        place == any_(func.array(first.scalar_subquery())) if is_postgresql else place.in_(first)
    )
    return delete(table).where(is_first).returning(*table.c)


async def take_turn(conn: AsyncConnection, name: str, *, wait: bool = True) -> bool:
    """Makes this transaction, until it ends, the only one by this name among all servers.

    Without `wait`, False when there is another one; else it waits for its end.
    """
    if conn.dialect.name != POSTGRESQL:
        # One transaction that writes comes after another anyway.
        return True
    number = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)
    if wait:
        await conn.execute(select(func.pg_advisory_xact_lock(number)))
        return True
    return bool(await conn.scalar(select(func.pg_try_advisory_xact_lock(number))))


@asynccontextmanager
async def erasing_what_is_replaced(conn: AsyncConnection) -> AsyncIterator[None]:
    """While the block runs, the bytes of rows that are replaced are overwritten in SQLite's file.

    PostgreSQL keeps them until its next vacuum.
    """
    if conn.dialect.name == POSTGRESQL:
        yield
        return
    # Some builds of SQLite do so always.
    before = (await conn.exec_driver_sql("PRAGMA secure_delete")).scalar_one()
    await conn.exec_driver_sql("PRAGMA secure_delete = ON")
    try:
        yield
    finally:
        await conn.exec_driver_sql(f"PRAGMA secure_delete = {before}")


class _Texts(TypeDecorator[list[str]]):
    """A list of texts as one parameter, however many there are."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == POSTGRESQL:
            return dialect.type_descriptor(postgresql.ARRAY(String()))
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: list[str] | None, dialect: Dialect) -> Any:
        assert value is not None
        return value if dialect.name == POSTGRESQL else orjson.dumps(value).decode()


class _Among(FunctionElement[Any]):
    name = "among"
    # Of a Boolean, SQLite would be asked whether it equals 1, for which it uses no index.
    type = NullType()
    inherit_cache = True


@compiles(_Among)
def _among_of_sqlite(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, texts = element.clauses
    found = compiler.process(column, **options)
    return f"{found} IN (SELECT value FROM json_each({compiler.process(texts, **options)}))"


class _Within(_Among):
    name = "within"
    inherit_cache = True


@compiles(_Within)
def _within_of_sqlite(element: _Within, compiler: SQLCompiler, **options: Any) -> str:
    # Without statistics, an index by this column would look as good to it as any other.
    return f"+{_among_of_sqlite(element, compiler, **options)}"


class _Same(FunctionElement[Any]):
    name = "same"
    type = NullType()
    inherit_cache = True


@compiles(_Same)
def _same_of_sqlite(element: _Same, compiler: SQLCompiler, **options: Any) -> str:
    one, other = (compiler.process(column, **options) for column in element.clauses)
    return f"+{one} = +{other}"


@compiles(_Same, POSTGRESQL)
def _same_of_postgresql(element: _Same, compiler: SQLCompiler, **options: Any) -> str:
    one, other = (compiler.process(column, **options) for column in element.clauses)
    return f"{one} = {other}"


@compiles(_Among, POSTGRESQL)
@compiles(_Within, POSTGRESQL)
def _among_of_postgresql(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, texts = element.clauses
    found = compiler.process(column, **options)
    return f"{found} = ANY ({compiler.process(texts, **options)})"


def texts(name: str) -> BindParameter[list[str]]:
    """A parameter of a prepared statement that is a list of texts, for what takes several."""
    return bindparam(name, type_=_Texts)


def among(
    column: ColumnElement[Any], values: Iterable[str] | BindParameter[list[str]]
) -> ColumnElement[bool]:
    """The condition that a column has one of these texts.

    It reads the same however many there are, so that it is compiled and prepared once, which
    `column.in_()` is not.
    """
    return _Among(column, _listed(values))


def within(
    column: ColumnElement[Any], values: Iterable[str] | BindParameter[list[str]]
) -> ColumnElement[bool]:
    """The condition `among` for a statement that finds its rows by another column.

    It tells a database that is spread by this column which of its nodes to ask.
    """
    return _Within(column, _listed(values))


def same(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[bool]:
    """The condition that two columns are equal, for a join that finds its rows by other ones.

    It tells a database that is spread by these columns that it finds them on the same node.
    """
    return _Same(one, other)


def _listed(values: Iterable[str] | BindParameter[list[str]]) -> BindParameter[list[str]]:
    if isinstance(values, BindParameter):
        return values
    return bindparam(None, list(values), type_=_Texts)


def key_pairs(
    dialect: Dialect,
    first: str,
    second: str,
    pairs: Collection[tuple[str, str]] | None = None,
) -> Any:
    """A table of two columns with these names, which holds these pairs.

    Like `among`, it reads the same however many there are. A prepared statement gets them as two
    lists of texts, which are named as the columns, with an `s` behind.
    """
    if pairs is None:
        firsts, seconds = texts(f"{first}s"), texts(f"{second}s")
    else:
        firsts = bindparam(None, [pair[0] for pair in pairs], type_=_Texts)
        seconds = bindparam(None, [pair[1] for pair in pairs], type_=_Texts)
    if dialect.name == POSTGRESQL:
        return (
            func.unnest(firsts, seconds).table_valued(first, second, name="wanted").render_derived()
        )
    each = func.json_each(firsts).table_valued("key", "value").c
    place = literal_column("'$['").concat(each.key).concat(literal_column("']'"))
    return select(
        each.value.label(first), func.json_extract(seconds, place).label(second)
    ).subquery("wanted")
