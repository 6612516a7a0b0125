import logging

import pytest
from octohooks_server.api.gone_peers import keep_quiet_about_gone_peers


def test_nothing_is_logged_of_a_peer_that_left_and_everything_else_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keep_quiet_about_gone_peers()
    logger = logging.getLogger("grpc._cython.cygrpc")
    logger.error("ExecuteBatchError raised in core by servicer method [%s]", "/Service/Method")
    logger.error("Unexpected [%s] raised by servicer method [%s]", "KeyError", "/Service/Method")
    assert [record.getMessage() for record in caplog.records] == [
        "Unexpected [KeyError] raised by servicer method [/Service/Method]"
    ]
