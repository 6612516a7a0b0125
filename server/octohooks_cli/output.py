"""What a command prints: tables and details for people, or a JSON object per line for programs."""

import sys
from collections.abc import Iterable, Sequence

from google.protobuf.message import Message
from octohooks.v1.attempt_service_pb2 import AttemptEvent
from rich.console import Console
from rich.table import Table
from rich.text import Text

from octohooks_cli.as_json import json_line
from octohooks_cli.attempt_lines import event_line
from octohooks_cli.text import cell, details, label, printable

# Columns that a narrow terminal may fold, and how narrow they may get. Others, such as IDs, stay
# whole, so that they can be copied.
_FOLDING = frozenset(
    {"name", "description", "url", "event_types", "channels", "metadata", "tags", "error_detail"}
)
_NARROWEST = 12


class Output:
    """Writes messages to standard output, and remarks to standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._console = Console(highlight=False)

    def message(self, message: Message) -> None:
        """Shows all of one message."""
        if self.as_json:
            self.json(json_line(message))
            return
        rows = list(details(message))
        width = max((len(path) for path, _ in rows), default=0) + 2
        for path, values in rows:
            lines = [line for value in values for line in value.split(allow_blank=True)]
            for number, line in enumerate(lines):
                head = Text(label(path) if number == 0 else "", style="bold")
                head.pad_right(width - len(head))
                self.line(head + line)

    def messages(self, messages: Iterable[Message], columns: str) -> None:
        """Shows several messages; `columns` holds the paths of the fields for a table, separated by
        spaces."""
        if self.as_json:
            for message in messages:
                self.json(json_line(message))
            return
        paths = columns.split()
        self.table(
            [label(path) for path in paths],
            [[cell(message, path) for path in paths] for message in messages],
            folding=[path in _FOLDING for path in paths],
        )

    def event(self, event: AttemptEvent, resume_token: str = "") -> None:
        """Shows one thing that happened to a delivery, on a line; for programs, with the token to
        go on behind it."""
        if self.as_json:
            self.json(json_line(event, resume_token=resume_token))
        else:
            self.line(event_line(event))

    def table(
        self,
        headers: Sequence[str],
        rows: Sequence[Sequence[Text]],
        folding: Sequence[bool] | None = None,
    ) -> None:
        """Shows a table, wider than the terminal where it must be; `folding` tells of each column
        whether a narrow terminal may fold it, which it may not unless told."""
        folding = folding or [False] * len(headers)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        natural = narrow = 0
        for header, folds, *cells in zip(headers, folding, *rows, strict=True):
            width = max(Text(header).cell_len, *(text.cell_len for text in cells), 0)
            narrowest = min(width, _NARROWEST) if folds else width
            table.add_column(
                header, no_wrap=not folds, overflow="fold", min_width=narrowest, max_width=width
            )
            natural += width + 2
            narrow += narrowest + 2
        for row in rows:
            table.add_row(*row)
        at_hand = self._console.width if self._console.is_terminal else natural
        self._console.width = max(narrow, at_hand)
        self._console.print(table, crop=False)

    def done(self, text: str) -> None:
        """Says that something was done that has no result."""
        if not self.as_json:
            self.line(printable(text))

    def line(self, text: Text | str) -> None:
        """Shows a line for people, which the terminal may wrap but nothing else."""
        self._console.print(text, soft_wrap=True, markup=False, emoji=False)

    def json(self, line: str) -> None:
        """Shows a line for programs, which a pipe gets at once."""
        print(line, flush=True)

    def remark(self, text: str) -> None:
        """Tells people something that is not part of the result; programs are not bothered."""
        if not self.as_json:
            print(text, file=sys.stderr, flush=True)
