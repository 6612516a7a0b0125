"""Looks at all that a server needs before it runs, or while it does, and changes nothing."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from octohooks_server.doctor.database import look_at_postgresql, look_at_sqlite
from octohooks_server.doctor.findings import Finding, Verdict, ok, problem
from octohooks_server.doctor.machine import (
    look_at_keys,
    look_at_open_files,
    look_at_space,
    look_at_tls,
    misspelt_variables,
)
from octohooks_server.doctor.outbound import (
    compare_clock,
    look_at_names,
    look_at_proxy,
    look_at_rules,
)
from octohooks_server.doctor.ports import look_at_metrics_port, look_at_port
from octohooks_server.settings import SettingsError, read_settings

__all__ = ["Finding", "Verdict", "examine"]


async def examine(*, clock_url: str | None = None) -> AsyncIterator[Finding]:
    """What is well, worth a warning, or wrong with the settings of this process's environment and
    with what they name.

    With wrong settings nothing else is looked at. `clock_url` is asked for the time.
    """
    for finding in misspelt_variables(os.environ):
        yield finding
    try:
        settings = read_settings()
    except SettingsError as error:
        for sentence in error.problems:
            yield problem("settings", sentence)
        return
    yield ok("settings", f"All values are right; {len(settings.model_fields_set)} are set.")
    for finding in look_at_keys(settings):
        yield finding
    for finding in look_at_tls(settings, datetime.now(UTC)):
        yield finding
    yield await look_at_port(settings)
    metrics_port = await look_at_metrics_port(settings)
    if metrics_port is not None:
        yield metrics_port
    if settings.database_url is None:
        async for finding in look_at_sqlite(settings):
            yield finding
        yield look_at_space(settings.data_dir)
        yield ok("clock", "It is the database's too; --clock-url compares it with another one.")
    else:
        for finding in await look_at_postgresql(settings):
            yield finding
    if clock_url is not None:
        yield await compare_clock(clock_url)
    for finding in look_at_rules(settings):
        yield finding
    async for finding in look_at_names(settings):
        yield finding
    proxy = await look_at_proxy(settings)
    if proxy is not None:
        yield proxy
    yield look_at_open_files(settings)
