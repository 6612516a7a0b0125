"""Tells whoever is on call about each attempt that fails, at once.

python examples/alerts.py --position alerts.position
"""

import argparse
from collections.abc import Generator
from datetime import UTC
from pathlib import Path

from octohooks import Octohooks, OutOfRange
from octohooks.v1.attempt_pb2 import Attempt


def alerts(octohooks: Octohooks, position: Path | None = None) -> Generator[str, None, None]:
    """A sentence about each failure, from now on. With a file for its position it goes on, another
    time, after the last one that it gave, so that none is missed while nobody watches."""

    def remember(token: str) -> None:
        if position:
            position.write_text(token)

    token = position.read_text() if position and position.exists() else ""
    while True:
        try:
            with octohooks.attempt.watch(kinds=["failed"], resume_token=token) as events:
                events.wait_until_live()
                remember(events.resume_token)
                yield "watching"
                for event in events:
                    yield sentence(event.attempt)
                    # Not before it is told: after a crash it is told twice rather than never.
                    remember(events.resume_token)
            return
        except OutOfRange as error:
            yield "some failures lie too far back to be told"
            token = error.metadata["oldest_resume_token"]


def sentence(attempt: Attempt) -> str:
    """What went wrong, and what comes next."""
    what = f"attempt {attempt.number} of {attempt.event_type} to {attempt.url} failed"
    if attempt.HasField("next_attempt_time"):
        time = attempt.next_attempt_time.ToDatetime(UTC).astimezone()
        following = f"The next is at {time:%H:%M:%S}."
    else:
        following = "It was the last one."
    return f"{what}. {attempt.error_detail} {following}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Alerts about webhooks that fail.")
    parser.add_argument("--position", type=Path, help="a file that remembers what was told")
    arguments = parser.parse_args()
    # The key and the server are in OCTOHOOKS_API_KEY and OCTOHOOKS_TARGET.
    with Octohooks() as octohooks:
        for line in alerts(octohooks, arguments.position):
            print(line, flush=True)


if __name__ == "__main__":
    main()
