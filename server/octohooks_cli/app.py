"""The command `octohooks` and its groups."""

from typing import Annotated

import typer

from octohooks_cli.commands import (
    api_key,
    application,
    attempt,
    audit,
    delivery,
    demo,
    doctor,
    encryption,
    endpoint,
    environment,
    event_type,
    job,
    listen,
    maintenance,
    message,
    operational_webhook,
    serve,
    watch,
)
from octohooks_cli.connection import (
    ApiKey,
    AsJson,
    Plaintext,
    Target,
    TlsCa,
    TlsClientCertificate,
    TlsClientKey,
    connection,
)
from octohooks_cli.session import command

app = typer.Typer(pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"octohooks {version('octohooks')}")
        raise typer.Exit


@app.callback(no_args_is_help=True)
def root(
    context: typer.Context,
    api_key: ApiKey = None,
    target: Target = None,
    plaintext: Plaintext = None,
    tls_ca: TlsCa = None,
    tls_client_certificate: TlsClientCertificate = None,
    tls_client_key: TlsClientKey = None,
    as_json: AsJson = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and end."
        ),
    ] = False,
) -> None:
    """Octohooks sends webhooks. New here? Try `octohooks demo`.

    The options of the connection, and --json, may also come after a command.
    """
    context.obj = connection(
        api_key, target, plaintext, tls_ca, tls_client_certificate, tls_client_key, as_json
    )


app.command("serve")(serve.serve)
app.command("doctor")(doctor.doctor)
app.command("migrate")(maintenance.migrate)
app.command("backup")(maintenance.backup)
app.command("import")(maintenance.import_)
app.command("demo")(demo.demo)
command(app, "watch")(watch.watch)
command(app, "listen")(listen.listen)

app.add_typer(environment.group, name="environment")
app.add_typer(api_key.group, name="api-key")
app.add_typer(application.group, name="application")
app.add_typer(endpoint.group, name="endpoint")
app.add_typer(event_type.group, name="event-type")
app.add_typer(message.group, name="message")
app.add_typer(delivery.group, name="delivery")
app.add_typer(attempt.group, name="attempt")
app.add_typer(operational_webhook.group, name="operational-webhook")
app.add_typer(audit.group, name="audit")
app.add_typer(job.group, name="job")
app.add_typer(encryption.group, name="encryption")
