import sys

import pytest

from benchmarks import posts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="benchmarks need Linux")


async def test_what_a_post_costs_is_measured() -> None:
    assert await posts.measure(count=20, at_once=2, payload_bytes=1_024) > 0
