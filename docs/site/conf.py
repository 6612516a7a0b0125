"""How the site of the documents is built; `tools/build_docs.py` puts its pages together."""

import functools
import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, get_args, get_origin

import octohooks.resources
from octohooks import __version__
from octohooks.calls import Call, Listing
from octohooks.resource import Resource, listing, unary

project = "Octohooks"
author = "The Octohooks authors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"Octohooks {__version__}"
html_show_copyright = False
html_copy_source = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True


def _as_called(describe: Callable[..., Any]) -> Callable[..., Any]:
    """A method as callers see it: its answer is the call's, and not a description of the call."""
    signature = inspect.signature(describe, eval_str=True)
    answer = signature.return_annotation
    (of,) = get_args(answer)
    shown = {Call: of, Listing: Iterator[of]}[get_origin(answer)]  # type: ignore[valid-type]

    @functools.wraps(describe)
    def method() -> None: ...

    method.__annotations__ = {**inspect.get_annotations(describe, eval_str=True), "return": shown}
    method.__signature__ = signature.replace(return_annotation=shown)  # type: ignore[attr-defined]
    return method


def _show_methods_as_called() -> None:
    for found in iter_modules(octohooks.resources.__path__):
        module = import_module(f"octohooks.resources.{found.name}")
        for resource in vars(module).values():
            if isinstance(resource, type) and issubclass(resource, Resource):
                for name, member in list(vars(resource).items()):
                    if isinstance(member, unary | listing):
                        setattr(resource, name, _as_called(member._describe))


_show_methods_as_called()
