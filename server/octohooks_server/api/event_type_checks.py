"""What an event type has to satisfy, wherever it comes from."""

from collections.abc import Iterator

from octohooks.v1.event_type_pb2 import EventType

from octohooks_server.api.checks import Checks
from octohooks_server.api.schemas import MAX_EXAMPLES, Schema, SchemaProblem, example_problem
from octohooks_server.rules.metadata import metadata_problem

MAX_DESCRIPTION = 4096


def check_event_type(checks: Checks, field: str, event_type: EventType) -> None:
    """Everything about an event type but its name."""
    for name, problem in event_type_problems(event_type):
        checks.problem(f"{field}.{name}", problem)


def event_type_problems(event_type: EventType) -> Iterator[tuple[str, str]]:
    """What is wrong with which field, except for the name.

    It takes milliseconds for usual schemas, and for some, with large examples, seconds.
    """
    if len(event_type.description) > MAX_DESCRIPTION:
        yield "description", f"At most {MAX_DESCRIPTION:,} characters are kept."
    if "\0" in event_type.description:
        # PostgreSQL holds none.
        yield "description", "The character U+0000 is not allowed."
    problem = metadata_problem(event_type.metadata)
    if problem is not None:
        yield "metadata", problem
    schema = None
    if event_type.schema:
        try:
            schema = Schema(event_type.schema)
        except SchemaProblem as error:
            yield "schema", str(error)
    if len(event_type.examples) > MAX_EXAMPLES:
        yield "examples", f"There are at most {MAX_EXAMPLES} examples."
    for index, example in enumerate(event_type.examples[:MAX_EXAMPLES]):
        problem = example_problem(schema, example)
        if problem is not None:
            yield f"examples[{index}]", problem
