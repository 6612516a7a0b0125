"""What an examination finds."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

# How long anybody is waited for.
SECONDS = 5.0

Verdict: TypeAlias = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    # A server with a problem does not start or does not do its work; with a warning it does.
    verdict: Verdict
    # What is the case and, unless that is well, what to do about it.
    text: str


def ok(subject: str, text: str) -> Finding:
    return Finding(subject, "ok", text)


def warning(subject: str, text: str) -> Finding:
    return Finding(subject, "warning", text)


def problem(subject: str, text: str) -> Finding:
    return Finding(subject, "problem", text)
