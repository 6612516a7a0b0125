"""What is in the database, read past the server's own code."""

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Any

Row = dict[str, Any]


class Stored:
    """The tables as they are; times are microseconds since the epoch."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file)
        self._connection.row_factory = sqlite3.Row

    def __enter__(self) -> "Stored":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def is_anything_waiting(self) -> bool:
        """Whether a delivery is still to be attempted, or a hand-over to be taken."""
        return bool(
            self._rows(
                "SELECT 1 FROM deliveries WHERE due_at IS NOT NULL"
                " UNION ALL SELECT 1 FROM hand_overs LIMIT 1"
            )
        )

    @property
    def deliveries(self) -> list[Row]:
        """Every delivery."""
        return self._rows("SELECT * FROM deliveries ORDER BY message_id, endpoint_id")

    @property
    def attempts(self) -> list[Row]:
        """Every attempt, in the order of the events."""
        return self._rows("SELECT * FROM attempts ORDER BY environment_id, sequence")

    @property
    def endpoints(self) -> dict[str, Row]:
        """Every endpoint, by ID."""
        return {row["id"]: row for row in self._rows("SELECT * FROM endpoints")}

    @property
    def events(self) -> list[tuple[str, int]]:
        """The environment and number of every event."""
        rows = self._rows(
            "SELECT environment_id, sequence FROM attempts"
            " UNION ALL SELECT environment_id, sequence FROM cancellations"
            " ORDER BY environment_id, sequence"
        )
        return [(row["environment_id"], row["sequence"]) for row in rows]

    @property
    def last_sequences(self) -> dict[str, int]:
        """The number of the newest event of each environment."""
        rows = self._rows("SELECT id, last_sequence FROM environments")
        return {row["id"]: row["last_sequence"] for row in rows}

    def _rows(self, query: str) -> list[Row]:
        return [dict(row) for row in self._connection.execute(query)]
