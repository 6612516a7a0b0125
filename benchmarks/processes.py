"""What the system knows of processes: CPU time, memory, children. Linux only."""

import time
from collections.abc import Collection
from pathlib import Path

_PROC = Path("/proc")
# To the kernel, a process's CPU time is a clock, which counts in nanoseconds.
_SCHEDULED = 2


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found.extend(children.get(one, ()))
    return found


def cpu_seconds(pids: Collection[int]) -> float:
    """CPU time that processes have used, all threads together, since their start; 0 for ended ones.

    User time and system time together.
    """
    return sum(_cpu_seconds(pid) for pid in pids)


def cpu_seconds_of_family(pid: int) -> float:
    """CPU time of a process and its descendants, of those too that have ended."""
    ended = 0.0
    members = family(pid)
    for one in members:
        if (fields := _stat(one)) is not None:
            # cutime and cstime, in hundredths of a second.
            ended += (int(fields[13]) + int(fields[14])) / 100
    return cpu_seconds(members) + ended


def memory_bytes(pids: Collection[int]) -> int:
    """Resident memory of processes at the moment; what they share counts for each."""
    return sum(_status(pid, "VmRSS") for pid in pids)


def peak_memory_bytes(pids: Collection[int]) -> int:
    """The most resident memory that each has had, added up."""
    return sum(_status(pid, "VmHWM") for pid in pids)


def _cpu_seconds(pid: int) -> float:
    try:
        return time.clock_gettime(~pid << 3 | _SCHEDULED)
    except OSError:
        return 0.0


def _stat(pid: int) -> list[str] | None:
    """The fields from the state on, as proc_pid_stat(5) orders them; None when it has ended."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name before may hold anything.
    return text.rpartition(")")[2].split()


def _status(pid: int, name: str) -> int:
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)
