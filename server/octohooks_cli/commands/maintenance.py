"""`octohooks migrate`, `octohooks backup` and `octohooks import`: the operator's commands."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from octohooks_cli.failures import end_with
from octohooks_cli.missing import missing_package

if TYPE_CHECKING:
    from octohooks_server.settings import Settings


def migrate() -> None:
    """Bring the database to this release's schema.

    A start of the server does the same. This is for where servers may not change the schema, or
    are to start only once it is done. Give it the settings of the server.
    """
    with server_settings() as settings:
        import asyncio

        from octohooks_server.maintenance import migrate_database

        revision = asyncio.run(migrate_database(settings))
        typer.echo(f"The database is at schema {revision}.")


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; it may not exist yet.")],
) -> None:
    """Save the embedded database into a file while its server runs.

    Give it the OCTOHOOKS_DATA_DIR of the server. To restore, stop the server, put the file into
    that folder as octohooks.db, and start it.
    """
    with server_settings() as settings:
        from octohooks_server.maintenance import backup as save

        typer.echo(f"Saved {save(settings, file):,} bytes to {file}.")


def import_(
    file: Annotated[
        Path, typer.Argument(help="An octohooks.db that no server is running on, or a backup.")
    ],
) -> None:
    """Copy an embedded database into an empty PostgreSQL database.

    Set OCTOHOOKS_DATABASE_URL as the servers are going to have it. All is copied or nothing; API
    keys, page and watch tokens, and what is still to be delivered stay good.
    """
    with server_settings() as settings:
        import asyncio

        from octohooks_server.maintenance import import_sqlite

        def tell(table: str, rows: int) -> None:
            typer.echo(f"{rows:>12,} {table}", err=True)

        copied = asyncio.run(import_sqlite(settings, file, tell))
        typer.echo(f"Copied {sum(copied.values()):,} rows. Start servers with this database now.")


@contextmanager
def server_settings() -> Iterator["Settings"]:
    """The server's settings; what is wrong with them, or cannot be done, ends the program."""
    try:
        from octohooks_server.maintenance import MaintenanceError
        from octohooks_server.settings import SettingsError, read_settings
    except ModuleNotFoundError as error:
        end_with(
            f"the package {missing_package(error)} is missing; this needs"
            " `pip install 'octohooks[server]'`."
        )
    try:
        yield read_settings()
    except (MaintenanceError, SettingsError) as error:
        end_with(str(error))
