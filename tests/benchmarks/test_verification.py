"""Nothing that was accepted can be missing without being noticed."""

from benchmarks.verification import Verdict, verify

_ENDPOINTS = {0: [0, 1], 1: [2]}
_ACCEPTED = [("a", 0), ("b", 1)]
_ALL = [("a", 0), ("a", 1), ("b", 2)]


def _verify(arrived: list[tuple[str, int]], requests: int = 1) -> Verdict:
    return verify(_ACCEPTED, _ENDPOINTS.__getitem__, lambda endpoint: requests, arrived)


def test_what_arrived_everywhere_is_complete() -> None:
    verdict = _verify(_ALL)
    assert verdict == Verdict(expected=3, missing=0, repeated=0, unexpected=0)
    assert verdict.is_complete


def test_a_request_that_never_came_is_missing() -> None:
    verdict = _verify(_ALL[1:])
    assert verdict == Verdict(expected=3, missing=1, repeated=0, unexpected=0)
    assert not verdict.is_complete


def test_a_repetition_makes_up_for_nothing_that_is_missing() -> None:
    verdict = _verify([*_ALL[1:], ("a", 1)])
    assert verdict == Verdict(expected=3, missing=1, repeated=1, unexpected=0)
    assert not verdict.is_complete


def test_a_repetition_alone_loses_nothing() -> None:
    verdict = _verify([*_ALL, ("b", 2)])
    assert verdict == Verdict(expected=3, missing=0, repeated=1, unexpected=0)
    assert verdict.is_complete


def test_what_nobody_asked_for_is_unexpected() -> None:
    verdict = _verify([*_ALL, ("b", 0), ("c", 2)])
    assert verdict == Verdict(expected=3, missing=0, repeated=0, unexpected=2)
    assert not verdict.is_complete


def test_a_failing_endpoint_is_waited_for_as_often_as_it_is_tried() -> None:
    assert _verify(_ALL, requests=2).missing == 3
    assert _verify(_ALL * 2, requests=2).is_complete
