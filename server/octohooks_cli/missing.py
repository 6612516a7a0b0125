"""Packages that are not installed, since they belong to an extra."""


def missing_package(error: ModuleNotFoundError) -> str:
    """The package whose absence is the error, which is raised again when it is one of our own."""
    package = (error.name or "").partition(".")[0]
    if not package or package.startswith("octohooks"):
        raise error
    return package
