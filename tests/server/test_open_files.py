"""The limit of open files follows the settings."""

import resource

import pytest
from octohooks_server import open_files
from octohooks_server.settings import Settings


@pytest.mark.parametrize(
    ("limits", "made"),
    [
        ((1_024, 524_288), (1_610, 524_288)),
        ((1_024, resource.RLIM_INFINITY), (1_610, resource.RLIM_INFINITY)),
        ((1_024, 1_500), (1_500, 1_500)),
        ((1_610, 4_096), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ],
)
def test_a_start_raises_it_to_what_the_settings_need_as_far_as_it_may(
    limits: tuple[int, int], made: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(max_connections=1_000, max_in_flight=500, database_connections=10)
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, these: set_to.append(these))
    open_files.allow(settings)
    assert set_to == ([] if made is None else [made])
