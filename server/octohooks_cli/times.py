"""Times and durations as people write and read them."""

import re
from datetime import datetime, timedelta

_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(text: str) -> timedelta:
    """The duration that `5s`, `1h30m`, `250ms` or `90d` names; a bare number means seconds.

    Raises:
        ValueError: the text is none of these.
    """
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        text += "s"
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 5s, 1h30m or 90d")
    try:
        parts = (float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        return sum(parts, timedelta())
    except OverflowError:
        raise ValueError(f"{text!r} is too long") from None


def format_duration(duration: timedelta) -> str:
    """The duration in the form that `parse_duration` reads; below a minute to three digits."""
    if duration < timedelta(seconds=1):
        return f"{duration / _UNITS['ms']:.3g}ms" if duration else "0s"
    if duration < timedelta(minutes=1):
        return f"{duration / _UNITS['s']:.3g}s"
    text = ""
    for unit in ("d", "h", "m"):
        count, duration = divmod(duration, _UNITS[unit])
        text += f"{count}{unit}" if count else ""
    seconds = f"{duration.total_seconds():.6f}".rstrip("0").rstrip(".")
    return text + (f"{seconds}s" if duration else "")


def parse_time(text: str, *, now: datetime, direction: int) -> datetime:
    """The time that an ISO 8601 text names, in the local time zone unless it names another; or, for
    a duration, the time that is so far from now, before it (`direction` -1) or after it (1).

    Raises:
        ValueError: the text is neither.
    """
    try:
        try:
            return now + direction * parse_duration(text)
        except ValueError:
            return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is neither a time such as 2026-01-31T12:00 nor a duration such as 1h"
        ) from None


def format_time(time: datetime, *, now: datetime) -> str:
    """The local time, without the date when that is today's."""
    local = time.astimezone()
    if local.date() == now.astimezone().date():
        return f"{local:%H:%M:%S}"
    return f"{local:%Y-%m-%d %H:%M:%S}"
