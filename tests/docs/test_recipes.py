"""The receivers of docs/verifying.md, each in its framework, with deliveries of a real server."""

import asyncio
import base64
import contextlib
import importlib
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import ModuleType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
import pytest
import uvicorn
from aiohttp import web
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from octohooks import AsyncOctohooks

from tests.docs.conftest import Place
from tests.docs.markdown import ROOT, blocks

PAGE = ROOT / "docs/verifying.md"

Serve = Callable[[ModuleType], AbstractAsyncContextManager[int]]
"""Serves a recipe while the block lasts; gives the port."""


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.asynccontextmanager
async def wsgi(app: Any) -> AsyncIterator[int]:
    with make_server("127.0.0.1", 0, app, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            await asyncio.to_thread(server.shutdown)
            thread.join()


@contextlib.asynccontextmanager
async def by_uvicorn(recipe: ModuleType) -> AsyncIterator[int]:
    server = uvicorn.Server(uvicorn.Config(recipe.app, log_config=None))
    # Whoever connects before the server accepts waits in the queue of the socket.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # In a thread it leaves the signals of the test run alone.
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await asyncio.to_thread(thread.join)


def by_flask(recipe: ModuleType) -> AbstractAsyncContextManager[int]:
    return wsgi(recipe.app)


def by_django(recipe: ModuleType) -> AbstractAsyncContextManager[int]:
    # The urls of a project that includes those of the recipe.
    settings.configure(ROOT_URLCONF=recipe.__name__, ALLOWED_HOSTS=["127.0.0.1"])
    django.setup()
    return wsgi(get_wsgi_application())


@contextlib.asynccontextmanager
async def by_aiohttp(recipe: ModuleType) -> AsyncIterator[int]:
    runner = web.AppRunner(recipe.app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("framework", "serve"),
    [
        ("fastapi", by_uvicorn),
        ("flask", by_flask),
        ("django", by_django),
        ("aiohttp", by_aiohttp),
    ],
)
async def test_the_recipe_takes_what_is_signed_with_its_secret_and_refuses_the_rest(
    framework: str,
    serve: Serve,
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    recipe = imported(f"{framework}_receiver", tmp_path, monkeypatch)
    async with (
        serve(recipe) as port,
        AsyncOctohooks(place.api_key, target=place.target) as octohooks,
    ):
        url = f"http://127.0.0.1:{port}/webhooks"
        await octohooks.application.create(uid="shop")
        known = await octohooks.endpoint.create("shop", url=url, secret=secret)
        stranger = await octohooks.endpoint.create("shop", url=url)
        async with octohooks.attempt.watch(application="shop") as events:
            await events.wait_until_live()
            message = await octohooks.message.create(
                "shop",
                event_type="invoice.paid",
                # Written anew, it would have other bytes.
                payload='{"name":  "Zo\\u00eb", "total": 12.50}',
            )
            attempts = [(await anext(events)).attempt for _ in range(2)]
    assert {attempt.endpoint: attempt.response_status for attempt in attempts} == {
        known.id: 204,
        stranger.id: 400,
    }
    printed = capsys.readouterr().out
    assert printed == f"got {{'name': 'Zoë', 'total': 12.5}} as {message.id}\n"


def imported(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The recipe of this name as a module."""
    file = f"{name}.py"
    (source,) = [block.code for block in blocks(PAGE) if block.attributes.get("file") == file]
    (folder / file).write_text(source, "utf-8")
    monkeypatch.syspath_prepend(folder)
    return importlib.import_module(name)
