"""The programs of `examples/`: followed as their README says, and what it says in passing."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from octohooks import Octohooks, Webhook

from examples.alerts import alerts
from examples.consumer import Consumer, Ledger
from examples.shop import pay, sign_up
from tests.acceptance.process import OPERATOR_KEY, ServerProcess, running_server
from tests.docs.markdown import ROOT, blocks
from tests.docs.printed import Shown
from tests.docs.terminals import Terminals, free_port, surroundings
from tests.docs.walkthrough import Walkthrough

README = ROOT / "examples/README.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def octohooks(server: ServerProcess) -> Iterator[Octohooks]:
    """A client of an environment that is the test's own."""
    with Octohooks(OPERATOR_KEY, target=server.address) as operator:
        environment = operator.environment.create("Examples")
        made = operator.api_key.create(environment=environment.id)
    with Octohooks(made.key, target=server.address) as octohooks:
        yield octohooks


@contextmanager
def nobody() -> Iterator[int]:
    """A port that is taken, and where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


# It starts seven programs, which on a busy machine takes long.
@pytest.mark.timeout(180)
def test_the_examples_together_do_and_print_what_their_readme_shows(
    server: ServerProcess, tmp_path: Path
) -> None:
    variables = surroundings(OCTOHOOKS_API_KEY=server.api_key, OCTOHOOKS_TARGET=server.address)
    port = free_port()
    with nobody() as down:
        shown = Shown(
            {
                ":8001/": f":{port}/",
                "--port 8001": f"--port {port}",
                ":8002/": f":{down}/",
            }
        )
        terminals = Terminals(tmp_path, variables)
        walkthrough = Walkthrough(README, terminals, shown)
        try:
            for block in blocks(README):
                walkthrough.step(block)
        finally:
            walkthrough.close()
            terminals.close()
    assert walkthrough.commands == 6


def test_the_consumer_books_a_webhook_once_though_it_comes_twice(
    octohooks: Octohooks, tmp_path: Path
) -> None:
    ledger = Ledger(str(tmp_path / "ledger"))
    with consumer(octohooks, "acme", ledger) as acme:
        pay(octohooks, "acme", 1, 1250)
        acme.handle_request()
        [message] = octohooks.message.list("acme")
        octohooks.delivery.resend(message=message.id, endpoint="main", application="acme")
        acme.handle_request()
        assert ledger.total() == 1250
    assert Ledger(str(tmp_path / "ledger")).total() == 1250


def test_the_consumer_refuses_what_is_signed_for_another_customer(
    octohooks: Octohooks, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(":memory:")
    with consumer(octohooks, "acme", ledger) as acme:
        sign_up(octohooks, "globex", f"http://127.0.0.1:{acme.server_port}/")
        with octohooks.attempt.watch(application="globex") as events:
            events.wait_until_live()
            pay(octohooks, "globex", 1, 1250)
            acme.handle_request()
            assert next(events).attempt.response_status == 400
    assert ledger.total() == 0
    assert capsys.readouterr().out == "refused: no signature matches\n"


def test_alerts_that_come_back_tell_what_failed_while_they_were_away(
    octohooks: Octohooks, tmp_path: Path
) -> None:
    position = tmp_path / "position"
    with nobody() as down:
        sign_up(octohooks, "acme", f"http://127.0.0.1:{down}/")
        with closing(alerts(octohooks, position)) as told:
            assert next(told) == "watching"
        pay(octohooks, "acme", 1, 1250)
        with closing(alerts(octohooks, position)) as told:
            assert next(told) == "watching"
            assert f"attempt 1 of invoice.paid to http://127.0.0.1:{down}/ failed." in next(told)


@contextmanager
def consumer(octohooks: Octohooks, customer: str, ledger: Ledger) -> Iterator[Consumer]:
    """A consumer at a free port, signed up as this customer."""
    secret = sign_up(octohooks, customer, "http://127.0.0.1:1/")
    with Consumer(0, Webhook(secret), ledger) as made:
        # Where it listens is known only now.
        assert sign_up(octohooks, customer, f"http://127.0.0.1:{made.server_port}/") == secret
        yield made
