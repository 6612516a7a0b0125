"""What log lines tell."""

import subprocess
import sys

import pytest

_FAILS = """
import structlog
from octohooks_server.logs import configure_logs

def serve(authorization):
    raise RuntimeError("a defect")

configure_logs(as_json={as_json}, level="info")
try:
    serve("Bearer " + "ca" + "nary")
except RuntimeError as error:
    structlog.get_logger().error("call_failed", exc_info=error)
"""


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_says_where_a_defect_is_and_shows_no_variables(as_json: bool) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _FAILS.format(as_json=as_json)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "RuntimeError: a defect" in run.stderr
    assert "in serve" in run.stderr
    assert "canary" not in run.stderr
