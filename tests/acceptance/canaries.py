"""Values that must not be found where they do not belong, in whichever form they got there."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path

import asyncpg


def forms(value: bytes) -> Iterator[bytes]:
    """The value itself, in hexadecimal, and in the middle of any base64."""
    yield value
    yield value.hex().encode()
    yield value.hex().upper().encode()
    for skipped in range(3):
        # Of whole groups of three bytes, behind some other bytes.
        part = value[skipped:]
        whole = part[: len(part) // 3 * 3]
        yield b64encode(whole)
        yield urlsafe_b64encode(whole)


def found(values: dict[str, bytes], texts: Iterable[tuple[str, bytes]]) -> list[str]:
    """Which of the values stand in which of the texts, each named; none is what tests want."""
    return [
        f"{name} in {place}"
        for place, text in texts
        for name, value in values.items()
        if any(form in text for form in forms(value))
    ]


def files_of(folder: Path) -> list[tuple[str, bytes]]:
    """Every file of a folder with its name; the log and other files of SQLite among them."""
    return [(file.name, file.read_bytes()) for file in folder.rglob("*") if file.is_file()]


async def rows_of(url: str) -> list[tuple[str, bytes]]:
    """Every row of a PostgreSQL database as text, in which bytes are hexadecimal."""
    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        )
        assert len(names) > 5
        return [
            (
                name,
                "\n".join(
                    [row[0] for row in await connection.fetch(f"SELECT t::text FROM {name} t")]
                ).encode(),
            )
            for (name,) in names
        ]
    finally:
        await connection.close()
