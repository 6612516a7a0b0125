from datetime import UTC, datetime

from octohooks_server.delivery.pacing import Pacer, Pacers
from octohooks_server.store.destinations import Destination


def starts(pacer: Pacer, count: int, now: float = 100.0) -> list[float]:
    """When each of `count` messages that all wait at `now` may start."""
    times = []
    for _ in range(count):
        now = pacer.earliest(now)
        pacer.take(now)
        times.append(now)
    return times


def a_destination(endpoint: str, *, own: int = 0, shared: int = 0) -> Destination:
    return Destination(
        environment_id="env_1",
        application_id="app_1",
        endpoint_id=endpoint,
        url="https://example.com/",
        headers={},
        secrets=(),
        schedule=(),
        rate_limit=own,
        application_rate_limit=shared,
        read_at=datetime.now(UTC),
    )


def test_a_slow_limit_spreads_messages_evenly() -> None:
    assert starts(Pacer(2), 4) == [100.0, 100.5, 101.0, 101.5]


def test_no_second_gets_more_than_the_limit_and_a_tenth() -> None:
    times = starts(Pacer(100), 1_000)
    for start in times:
        assert sum(1 for time in times if start <= time < start + 1) <= 110


def test_a_limit_that_rested_gives_no_credit_beyond_a_tenth_of_a_second() -> None:
    pacer = Pacer(100)
    pacer.take(0.0)
    assert sum(1 for time in starts(pacer, 100, now=3_600.0) if time == 3_600.0) <= 11


def test_what_fits_into_a_time_shrinks_as_starts_are_taken() -> None:
    pacer = Pacer(10)
    assert pacer.fits(100.0, 2.0) == 20
    for _ in range(15):
        pacer.take(100.0)
    assert pacer.fits(100.0, 2.0) == 5


def test_endpoints_of_one_application_share_its_limit() -> None:
    pacers = Pacers()
    (one,) = pacers.of(a_destination("ep_1", shared=5))
    (other,) = pacers.of(a_destination("ep_2", shared=5))
    assert one is other


def test_an_endpoint_with_a_limit_of_its_own_keeps_both() -> None:
    pacers = Pacers()
    assert sorted(one.rate for one in pacers.of(a_destination("ep_1", own=3, shared=5))) == [3, 5]


def test_servers_share_a_limit() -> None:
    assert starts(Pacer(2, servers=4), 3) == [100.0, 102.0, 104.0]
    pacers = Pacers()
    (known,) = pacers.of(a_destination("ep_1", own=10))
    pacers.share(5)
    (new,) = pacers.of(a_destination("ep_2", own=10))
    assert starts(known, 3) == starts(new, 3) == [100.0, 100.5, 101.0]
    assert known.fits(100.0, 2.0) == 1
    pacers.share(1)
    assert known.rate == 10
    assert starts(known, 3, now=200.0) == [200.0, 200.1, 200.2]


def test_a_changed_limit_takes_effect() -> None:
    pacers = Pacers()
    pacers.of(a_destination("ep_1", own=3))
    assert [one.rate for one in pacers.of(a_destination("ep_1", own=7))] == [7]
    assert pacers.of(a_destination("ep_1")) == ()
    assert pacers.known_of("ep_1") == ()
