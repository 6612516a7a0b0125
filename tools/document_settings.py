"""Writes the table of the server's settings into docs/settings.md, or checks that it is up to date.

python tools/document_settings.py            writes the table
python tools/document_settings.py --check    changes nothing; exits 1 when the table is stale
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from octohooks_server.settings import Settings

DOCUMENT = Path(__file__).resolve().parent.parent / "docs/settings.md"
BEGIN = "<!-- The table is written by tools/document_settings.py. -->\n"
END = "<!-- End of the table. -->\n"


def table() -> str:
    """The settings as a Markdown table, in the order in which the server defines them."""
    prefix = Settings.model_config["env_prefix"]
    rows = [
        f"| `{prefix}{name.upper()}` | {_default(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| Variable | Default | What it is |", "| --- | --- | --- |", *rows]) + "\n"


def with_table(text: str) -> str:
    """The document with the table of now between its markers; ValueError when it has none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the document has no markers that the table stands between")
    return f"{before}{begin}\n{table()}\n{end}{after}"


def _default(value: Any) -> str:
    """A default as one would write it into the environment."""
    match value:
        case None | ():
            return "unset"
        case bool():
            return f"`{str(value).lower()}`"
        case timedelta():
            return f"`{value.total_seconds():g}`"
        case _:
            return f"`{value}`"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line above; answers its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="only tell whether it is stale")
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    options = parser.parse_args(arguments)
    text = options.document.read_text("utf-8")
    wanted = with_table(text)
    if text == wanted:
        return 0
    if not options.check:
        options.document.write_text(wanted, "utf-8")
        return 0
    print(
        f"The table in {options.document} is not what settings.py says."
        " Run `python tools/document_settings.py` and commit the result.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
