import pytest
from octohooks_server.delivery.places import Places, Quick


def taken_by(quick: Quick, total: int = 100) -> Places:
    """Places of which an endpoint of this kind has taken all that it may."""
    places = Places(total)
    places.take(quick, places.free(quick))
    return places


@pytest.mark.parametrize(("quick", "most"), [(True, 100), (None, 75), (False, 50)])
def test_each_kind_of_endpoint_may_take_a_part(quick: Quick, most: int) -> None:
    assert Places(100).free(quick) == most


def test_slow_endpoints_leave_places_to_all_others() -> None:
    places = taken_by(False)
    assert (places.free(False), places.free(None), places.free(True)) == (0, 25, 50)


def test_endpoints_that_were_not_tried_leave_places_to_quick_ones() -> None:
    places = taken_by(None)
    assert (places.free(None), places.free(True)) == (0, 25)


def test_a_place_that_a_quick_endpoint_gives_back_may_be_taken_by_any_kind() -> None:
    places = taken_by(True)
    places.take(True, -1)
    assert [places.free(quick) for quick in (True, None, False)] == [1, 1, 1]


@pytest.mark.parametrize("total", [1, 2, 3])
@pytest.mark.parametrize("quick", [True, None, False])
def test_of_few_places_each_kind_may_take_one(total: int, quick: Quick) -> None:
    assert Places(total).free(quick) >= 1


def test_a_part_has_fewer_places_and_takes_none_of_the_whole() -> None:
    places = taken_by(None)
    part = places.part(10)
    assert part.free(True) == 15
    part.take(True, 5)
    assert places.free(True) == 25
