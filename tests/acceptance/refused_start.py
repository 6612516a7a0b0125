"""Starts that are refused: an exit code, and one sentence for the operator."""

import re
import subprocess
import sys
from pathlib import Path

from tests.acceptance.process import environment

# gRPC's core has a log of its own, such as `E1124 07:57:21.475077 20550 add_port.cc:83] ...`.
_OF_GRPC = re.compile(r"[EWI]\d{4} [\d:.]+ +\d+ \w+\.cc:\d+] ")


def assert_start_refused(data_dir: Path, variable: str, code: int = 2, **settings: str) -> str:
    """A server started so ends by itself, with this code and a sentence that begins with the
    variable.

    Blocks until then; answers the sentence. `settings` are as `environment` takes them.
    """
    ended = subprocess.run(
        [sys.executable, "-m", "octohooks_server"],
        env=environment(data_dir, **settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    (line,) = [one for one in ended.stderr.splitlines() if not _OF_GRPC.match(one)]
    assert line.startswith(variable)
    assert line.endswith(".")
    return line
