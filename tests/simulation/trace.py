"""What happened in a run, line by line; two runs of one seed have the same."""

import asyncio
import hashlib


class Trace:
    """Lines with their virtual time."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        """Notes that something happens now."""
        self.lines.append(f"{asyncio.get_running_loop().time():14.6f}  {line}")

    def digest(self) -> str:
        """The same for equal traces, and for these alone."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()
