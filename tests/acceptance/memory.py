"""How much memory a process takes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEGABYTE = 1 << 20


class Memory:
    """The memory that a process takes over what it had when this was made. Linux alone tells."""

    def __init__(self, pid: int) -> None:
        self._process = Path("/proc", str(pid))
        self.at_first = self._resident("VmRSS")
        """In bytes, as all of these."""
        # The kernel forgets the peak so far.
        (self._process / "clear_refs").write_text("5")

    def most(self) -> int:
        """The peak since then."""
        return self._resident("VmHWM")

    def most_added(self) -> int:
        """How far the peak since then is above what there was."""
        return self.most() - self.at_first

    def _resident(self, name: str) -> int:
        for line in (self._process / "status").read_text("ascii").splitlines():
            key, _, value = line.partition(":")
            if key == name:
                return int(value.removesuffix("kB")) * 1024
        raise AssertionError(f"the system does not tell {name}")


@contextmanager
def added_less_than(size: int, pid: int) -> Iterator[None]:
    """While the block runs, the process must not take so many bytes more than it had before.

    Only Linux tells; elsewhere nothing is asserted.
    """
    if sys.platform != "linux":
        yield
        return
    memory = Memory(pid)
    yield
    added = memory.most_added()
    assert added < size, f"{added / MEGABYTE:.1f} MB more than the {memory.at_first / MEGABYTE:.1f}"
