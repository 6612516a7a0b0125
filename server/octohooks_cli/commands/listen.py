"""`octohooks listen`"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from octohooks_cli.session import Session

if TYPE_CHECKING:
    from octohooks import Octohooks, Webhook

    from octohooks_cli.output import Output


def listen(
    session: Session,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Where to listen; 0 takes a free port.")
    ] = 8000,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    secret: Annotated[
        str | None, typer.Option(help="The endpoint's secret, to verify signatures with.")
    ] = None,
    register: Annotated[
        str | None,
        typer.Option(
            metavar="APPLICATION",
            help="Be an endpoint of this application as long as this runs, and verify with its"
            " secret. The application is made when it is missing.",
        ),
    ] = None,
    status: Annotated[
        int, typer.Option(min=200, max=599, help="The HTTP status to answer with.")
    ] = 200,
    fail_first: Annotated[
        int, typer.Option(min=0, metavar="N", help="Answer the first N requests with 500.")
    ] = 0,
) -> None:
    """Receive webhooks on this machine, print and verify each, until Ctrl-C.

    A server sends to this machine only where its OCTOHOOKS_ALLOWED_SUBNETS allows it.
    """
    # Other commands need not wait for aiohttp to be imported.
    from octohooks_cli.arrivals import show_arrival
    from octohooks_cli.receiver import Receiver, listen_at, url_of

    if secret is not None and register is not None:
        raise typer.BadParameter("the server tells it with --register.", param_hint="--secret")
    with ExitStack() as stack:
        listening = stack.enter_context(listen_at(host, port))
        url = url_of(listening)
        if register is not None:
            secret = stack.enter_context(_endpoint(session.client, register, url))
        receiver = Receiver(
            partial(show_arrival, session.output),
            webhook=None if secret is None else _webhook(secret),
            status=status,
            fail_first=fail_first,
        )
        receiver.serve_until_interrupted(listening, ready=partial(_say_ready, session.output, url))


def _say_ready(output: Output, url: str) -> None:
    if output.as_json:
        output.json(json.dumps({"url": url}))
    else:
        output.line(f"Listening at {url} (Ctrl-C ends it)")


@contextmanager
def _endpoint(client: Octohooks, application: str, url: str) -> Iterator[str]:
    """An endpoint with this URL as long as the block lasts; gives its secret."""
    # The same port gets the same endpoint, so that one that was left behind is taken over.
    uid = f"listen-{urlsplit(url).port}"
    client.application.update(application)
    client.endpoint.update(application, uid, url=url, disabled=False, allow_missing=True)
    try:
        yield client.endpoint.secret(application, uid)[0].secret
    finally:
        client.endpoint.delete(application, uid)


def _webhook(secret: str) -> Webhook:
    from octohooks import Webhook

    try:
        return Webhook(secret)
    except (ValueError, ImportError) as error:
        raise typer.BadParameter(str(error), param_hint="--secret") from error
