"""`octohooks serve`"""

from octohooks_cli.failures import end_with
from octohooks_cli.missing import missing_package


def serve() -> None:
    """Run the server until Ctrl-C.

    Its settings come from the environment: OCTOHOOKS_LISTEN (where it listens), OCTOHOOKS_DATA_DIR
    (where it keeps its data) and others, which docs/settings.md lists.
    """
    try:
        from octohooks_server.__main__ import main
    except ModuleNotFoundError as error:
        end_with(
            f"the package {missing_package(error)} is missing; the server needs"
            " `pip install 'octohooks[server]'`."
        )
    main()
