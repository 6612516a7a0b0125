"""What all tests share."""

import os
import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.postgresql import Cluster

settings.register_profile(
    "octohooks",
    # How long an example takes, or its making, says more about the machine than about the code.
    deadline=None,
    # The examples of a test share its server, each in an environment of its own where it matters.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("octohooks")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves PostgreSQL out where a test is about what is the same whatever the database."""
    left_out = [
        item
        for item in items
        if item.get_closest_marker("one_database_is_enough") is not None
        and isinstance(item, pytest.Function)
        and hasattr(item, "callspec")
        and item.callspec.params.get("database_kind") == "postgresql"
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The PostgreSQL server that all tests share."""
    # Not in pytest's own folder, which it closes to the user that the server runs as.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    return Cluster(Path(tempfile.gettempdir()) / f"octohooks-tests-{run}")
