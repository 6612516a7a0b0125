from datetime import timedelta

import pytest
from octohooks_server import errors
from octohooks_server.errors import InvalidArgument, NotFound, OctohooksError, Unavailable


def test_every_error_has_a_reason_and_a_sentence() -> None:
    raised: list[OctohooksError] = [
        NotFound("application", "app_1"),
        errors.AlreadyExists("application", "some-user"),
        InvalidArgument.of("endpoint.url", "It has no host."),
        errors.FailedPrecondition("The endpoint is disabled.", reason="ENDPOINT_DISABLED"),
        errors.Unauthenticated(),
        errors.PermissionDenied("The method needs the operator's key."),
        errors.ResourceExhausted("Too large.", reason="PAYLOAD_TOO_LARGE"),
        Unavailable("The database is away."),
        errors.OutOfRange("The token is too old.", metadata={"oldest_resume_token": "t"}),
    ]
    assert [error.reason for error in raised] == [
        "NOT_FOUND",
        "UID_TAKEN",
        "INVALID_FIELD",
        "ENDPOINT_DISABLED",
        "INVALID_API_KEY",
        "OPERATOR_KEY_REQUIRED",
        "PAYLOAD_TOO_LARGE",
        "DATABASE_UNAVAILABLE",
        "WATCH_HISTORY_GONE",
    ]
    assert all(error.message and str(error) == error.message for error in raised)
    assert raised[-1].metadata == {"oldest_resume_token": "t"}


def test_an_invalid_argument_names_every_wrong_field() -> None:
    error = InvalidArgument([("a", "Is empty."), ("b.c", "Is too long.")])
    assert [(one.field, one.description) for one in error.violations] == [
        ("a", "Is empty."),
        ("b.c", "Is too long."),
    ]
    assert "a" in error.message
    assert "b.c" in error.message


def test_an_invalid_argument_without_a_field_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="violation"):
        InvalidArgument([])


def test_not_found_keeps_what_was_looked_for() -> None:
    error = NotFound("endpoint", "my-endpoint")
    assert (error.kind, error.reference) == ("endpoint", "my-endpoint")


def test_unavailable_can_say_when_to_come_back() -> None:
    soon = timedelta(seconds=2)
    assert Unavailable("Busy.").retry_after is None
    assert Unavailable("Busy.", retry_after=soon).retry_after == soon
