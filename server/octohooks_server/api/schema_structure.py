"""How a JSON Schema is built: its subschemas, and where its references lead.

It knows the keywords of drafts 2020-12 and 7 that hold schemas; what is malformed holds none.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

Pointer = tuple[str, ...]

_HOLD_ONE = (
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_HOLD_A_LIST = ("allOf", "anyOf", "items", "oneOf", "prefixItems")
_HOLD_A_MAP = ("dependencies", "dependentSchemas", "patternProperties", "properties")
_DEFINITIONS = ("$defs", "definitions")
_REFERENCES = ("$ref", "$dynamicRef")
_ANCHORS = ("$anchor", "$dynamicAnchor")


def pointer_text(tokens: Pointer) -> str:
    """The JSON pointer (RFC 6901); empty for the whole document."""
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in tokens)


def pointer_tokens(text: str) -> Pointer:
    """The tokens of a JSON pointer; of the whole document's, none."""
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:])


def value_at(document: Any, pointer: Pointer) -> Any:
    """What a JSON pointer leads to; LookupError when there is nothing."""
    value = document
    for token in pointer:
        if isinstance(value, dict):
            value = value[token]
        elif isinstance(value, list) and token.isdecimal():
            value = value[int(token)]
        else:
            raise KeyError(token)
    return value


def nesting(value: Any) -> int:
    """How deep lists and objects nest in each other."""
    level, depth = [value], 0
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [
            inner for one in level for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return depth


def is_schema(value: Any) -> bool:
    """Whether a value stands for a schema at all."""
    return isinstance(value, dict | bool)


def parts(schema: Any, *, definitions: bool = True) -> Iterator[tuple[Pointer, Any]]:
    """The schemas directly inside a schema, each with the way to it."""
    if not isinstance(schema, dict):
        return
    for keyword in _HOLD_ONE:
        if is_schema(part := schema.get(keyword)):
            yield (keyword,), part
    for keyword in _HOLD_A_LIST:
        if isinstance(some := schema.get(keyword), list):
            yield from (
                ((keyword, str(index)), part) for index, part in enumerate(some) if is_schema(part)
            )
    for keyword in _HOLD_A_MAP + (_DEFINITIONS if definitions else ()):
        if isinstance(some := schema.get(keyword), dict):
            yield from (((keyword, name), part) for name, part in some.items() if is_schema(part))


class SchemaStructure:
    """The schemas of one document and what they refer to, without ever looking outside of it."""

    def __init__(self, root: Any) -> None:
        self._root = root
        # Each schema object that was found, under its identity, with its base URI and the way to
        # it. The document keeps the objects alive.
        self._found: dict[int, tuple[dict[str, Any], str, Pointer]] = {}
        self._resources: dict[str, Any] = {"": root}
        self._anchors: dict[tuple[str, str], Any] = {}
        self._collect(root, "", ())
        self.dangling: Pointer | None = self._follow_all()
        """The way to a reference that leads nowhere in the document, or None."""

    def expanded(self, *, most: int, deepest: int) -> list[Any] | None:
        """All schemas when each reference is replaced by what it refers to, up to where it recurs;
        None when there are more than `most`, or they nest deeper than `deepest`.

        A validator may have to look at each of them for one value.
        """
        found = [self._root]
        on_the_way = {id(self._root)}
        stack: list[tuple[int, Iterator[Any]]] = [(id(self._root), self._next(self._root))]
        while stack:
            identity, following = stack[-1]
            part = next(following, None)
            if part is None:
                on_the_way.discard(identity)
                stack.pop()
                continue
            found.append(part)
            if len(found) > most or len(stack) > deepest:
                return None
            if isinstance(part, dict) and id(part) not in on_the_way:
                on_the_way.add(id(part))
                stack.append((id(part), self._next(part)))
        return found

    def _next(self, schema: Any) -> Iterator[Any]:
        """What a validator of this schema goes on to."""
        for _, part in parts(schema, definitions=False):
            yield part
        for _, reference in _references_of(schema):
            target = self._target(schema, reference)
            if target is not None:
                yield target

    def _collect(self, schema: Any, base: str, way: Pointer) -> None:
        waiting = [(schema, base, way)]
        while waiting:
            schema, base, way = waiting.pop()
            if not isinstance(schema, dict) or id(schema) in self._found:
                continue
            own_id = schema.get("$id")
            if isinstance(own_id, str):
                if own_id.startswith("#"):
                    # How draft 7 writes an anchor.
                    self._anchors[base, own_id[1:]] = schema
                else:
                    base, _ = _resolved(base, own_id)
                    self._resources[base] = schema
            for keyword in _ANCHORS:
                if isinstance(name := schema.get(keyword), str):
                    self._anchors[base, name] = schema
            self._found[id(schema)] = (schema, base, way)
            waiting.extend((part, base, way + tokens) for tokens, part in parts(schema))

    def _follow_all(self) -> Pointer | None:
        """Follows every reference, also from what only references lead to."""
        seen = 0
        while seen < len(self._found):
            for schema, _, way in list(self._found.values())[seen:]:
                seen += 1
                for keyword, reference in _references_of(schema):
                    if self._target(schema, reference) is None:
                        return (*way, keyword)
        return None

    def _target(self, schema: Any, reference: str) -> Any:
        """The schema that is referred to, or None when the document has no such schema."""
        _, base, _ = self._found[id(schema)]
        base, fragment = _resolved(base, reference)
        if base not in self._resources:
            return None
        if fragment and not fragment.startswith("/"):
            return self._anchors.get((base, fragment))
        way = pointer_tokens(fragment)
        try:
            target = value_at(self._resources[base], way)
        except LookupError:
            return None
        if not is_schema(target):
            return None
        # It may lie where no keyword for schemas leads to.
        self._collect(target, base, way)
        return target


def _references_of(schema: Any) -> Iterator[tuple[str, str]]:
    for keyword in _REFERENCES:
        if isinstance(schema, dict) and isinstance(reference := schema.get(keyword), str):
            yield keyword, reference


def _resolved(base: str, reference: str) -> tuple[str, str]:
    """The absolute URI that a reference names, and its fragment."""
    try:
        uri, fragment = urldefrag(reference)
        # Joined to a base like `urn:...`, a mere fragment would lose it.
        return urldefrag(urljoin(base, uri)).url if uri else base, unquote(fragment)
    except ValueError:
        return reference, ""
