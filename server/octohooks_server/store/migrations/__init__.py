"""The schema's history, applied by alembic when the server starts."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import Connection

_HERE = Path(__file__).parent


def migrate(connection: Connection) -> None:
    """Brings the schema to this release's revision, inside the connection's transaction."""
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
