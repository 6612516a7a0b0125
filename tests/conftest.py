"""What all tests share."""

import os
import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import settings

from tests.postgresql import Cluster

# How long an example takes says more about the machine than about the code.
settings.register_profile("octohooks", deadline=None)
settings.load_profile("octohooks")


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The PostgreSQL server that all tests share."""
    # Not in pytest's own folder, which it closes to the user that the server runs as.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    return Cluster(Path(tempfile.gettempdir()) / f"octohooks-tests-{run}")
