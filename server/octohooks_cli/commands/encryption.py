"""`octohooks encryption`: the keys that secrets in the database are encrypted with."""

from typing import Annotated

import typer

from octohooks_cli.commands.maintenance import server_settings
from octohooks_cli.failures import end_with

group = typer.Typer(help="Encrypt the secrets in the database.", no_args_is_help=True)


@group.command()
def key() -> None:
    """Print a new key for OCTOHOOKS_ENCRYPTION_KEYS, and on standard error its ID.

    `status` and the server's log call it by its ID, which tells nothing of the key.
    """
    import os
    from base64 import b64decode

    from octohooks_server.rules.keyring import encoded_key, key_id

    made = encoded_key(os.urandom)
    typer.echo(made)
    typer.echo(f"Its ID is {key_id(b64decode(made))}.", err=True)


@group.command()
def status() -> None:
    """Count the secrets in the database by the key that they are encrypted with.

    Give it the settings of the server, which may go on running.
    """
    with server_settings() as settings:
        import asyncio

        from octohooks_server.rotation import status as count

        for id, number in sorted(
            asyncio.run(count(settings)).items(), key=lambda entry: entry[0] or ""
        ):
            typer.echo(f"{number:>12,} {f'with key {id}' if id else 'plain'}")


@group.command()
def rotate(
    decrypt: Annotated[
        bool, typer.Option("--decrypt", help="Make all secrets plain again instead.")
    ] = False,
) -> None:
    """Encrypt every secret in the database with the first key of OCTOHOOKS_ENCRYPTION_KEYS.

    Run it once all servers have been started with that key first. On PostgreSQL they go on running
    meanwhile; a server on the embedded database does the same by itself after its start. It can be
    cut off and repeated. Give it the settings of the servers.
    """
    with server_settings() as settings:
        import asyncio

        from octohooks_server.rotation import rotate as run

        def tell(count: int) -> None:
            if count:
                typer.echo(f"{count:>12,} secrets", err=True)

        done = asyncio.run(run(settings, decrypt=decrypt, told=tell))
        for problem in done.left:
            typer.echo(problem, err=True)
        under = f"encrypted with key {done.key}" if done.key else "plain"
        if done.left:
            end_with(f"Secrets that do not open, and stayed as they were: {len(done.left):,}.")
        typer.echo(f"All secrets are {under}; {done.count:,} were not before.")
