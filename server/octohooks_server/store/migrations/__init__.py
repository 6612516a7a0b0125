"""The schema's history, applied by alembic when the server starts."""

from pathlib import Path
from typing import Literal, TypeAlias

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from sqlalchemy.engine import Connection

_HERE = Path(__file__).parent

SchemaState: TypeAlias = Literal["empty", "older", "current", "newer", "foreign"]


def migrate(connection: Connection) -> None:
    """Brings the schema to this release's revision, inside the connection's transaction."""
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def schema_state(connection: Connection) -> SchemaState:
    """How the schema stands to this release's: `foreign` where others have made tables, and
    `newer` where another release has made them that this one does not know."""
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        return "foreign" if inspect(connection).get_table_names() else "empty"
    scripts = ScriptDirectory(str(_HERE))
    if found == scripts.get_current_head():
        return "current"
    known = {script.revision for script in scripts.walk_revisions()}
    return "older" if found in known else "newer"
