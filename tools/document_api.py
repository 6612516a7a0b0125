"""Writes the reference of the gRPC API: one Markdown page for each proto, out of its comments.

python tools/document_api.py FOLDER    writes the pages, and an index of them
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

PROTOS = Path(__file__).resolve().parent.parent / "protos"
PACKAGE = "octohooks/v1"

# Where a descriptor stands in its parent, by the numbers of its fields.
_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6
_FIELDS, _NESTED_MESSAGES, _NESTED_ENUMS = 2, 3, 4
_METHODS = 2
_VALUES = 2

Place = tuple[int, ...]


def described(protos: Path = PROTOS) -> list[FileDescriptorProto]:
    """The protos with their comments, in the order of their names."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "protos.binpb")
        subprocess.run(
            [
                *(sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={protos}"),
                *("--include_source_info", f"--descriptor_set_out={output}"),
                *map(str, sorted((protos / PACKAGE).glob("*.proto"))),
            ],
            check=True,
        )
        return list(FileDescriptorSet.FromString(output.read_bytes()).file)


def pages(files: Sequence[FileDescriptorProto]) -> dict[str, str]:
    """The Markdown of each page by its name: `index` for all, then one for each proto."""
    known = {name for file in files for name in _names(file)}
    written = {_page_name(file): "\n".join(_Page(file, known).lines()) for file in files}
    return {"index": _index(files), **written}


@dataclass(frozen=True, slots=True)
class _Page:
    """The page of one proto."""

    file: FileDescriptorProto
    # The full names that links can lead to.
    known: set[str]

    def lines(self) -> Iterator[str]:
        comments = _comments(self.file)
        if not self.file.service:
            yield f"# {_title(self.file)}"
        for number, service in enumerate(self.file.service):
            yield from self._service(service, (_SERVICES, number), comments)
        if self.file.service and self.file.message_type:
            yield ""
            yield "## Requests and responses"
        for number, message in enumerate(self.file.message_type):
            name = f"{self.file.package}.{message.name}"
            yield from self._message(message, name, (_MESSAGES, number), comments)
        for number, enum in enumerate(self.file.enum_type):
            name = f"{self.file.package}.{enum.name}"
            yield from self._enum(enum, name, (_ENUMS, number), comments)

    def _service(
        self, service: ServiceDescriptorProto, path: Place, comments: dict[Place, str]
    ) -> Iterator[str]:
        full_name = f"{self.file.package}.{service.name}"
        yield from _heading(1, service.name, full_name)
        yield comments.get(path, "")
        for number, method in enumerate(service.method):
            yield from _heading(2, method.name, f"{full_name}.{method.name}")
            takes = self._streamed(method.input_type, method.client_streaming)
            answers = self._streamed(method.output_type, method.server_streaming)
            yield f"Takes {takes} and answers {answers}."
            yield ""
            yield comments.get((*path, _METHODS, number), "")

    def _message(
        self, message: DescriptorProto, full_name: str, path: Place, comments: dict[Place, str]
    ) -> Iterator[str]:
        yield from _heading(
            3 if self.file.service else 2, _short(full_name, self.file.package), full_name
        )
        yield comments.get(path, "")
        entries = {nested.name: nested for nested in message.nested_type if _is_map(nested)}
        if message.field:
            yield ""
            yield "| Field | Type | |"
            yield "| --- | --- | --- |"
        for number, field in enumerate(message.field):
            text = comments.get((*path, _FIELDS, number), "").replace("\n", " ")
            choice = _choice(message, field)
            yield f"| `{field.name}` | {self._type(field, entries)} | {_cell(text + choice)} |"
        for number, nested in enumerate(message.nested_type):
            if not _is_map(nested):
                name = f"{full_name}.{nested.name}"
                yield from self._message(nested, name, (*path, _NESTED_MESSAGES, number), comments)
        for number, enum in enumerate(message.enum_type):
            name = f"{full_name}.{enum.name}"
            yield from self._enum(enum, name, (*path, _NESTED_ENUMS, number), comments)

    def _enum(
        self, enum: EnumDescriptorProto, full_name: str, path: Place, comments: dict[Place, str]
    ) -> Iterator[str]:
        yield from _heading(
            3 if self.file.service else 2, _short(full_name, self.file.package), full_name
        )
        yield comments.get(path, "")
        yield ""
        yield "| Value | Number | |"
        yield "| --- | --- | --- |"
        for number, value in enumerate(enum.value):
            text = comments.get((*path, _VALUES, number), "").replace("\n", " ")
            yield f"| `{value.name}` | {value.number} | {_cell(text)} |"

    def _type(self, field: FieldDescriptorProto, entries: dict[str, DescriptorProto]) -> str:
        entry = entries.get(field.type_name.rpartition(".")[2])
        if entry is not None:
            key, value = entry.field
            return f"map of {self._plain_type(key)} to {self._plain_type(value)}"
        many = field.label == FieldDescriptorProto.LABEL_REPEATED
        return ("repeated " if many else "") + self._plain_type(field)

    def _plain_type(self, field: FieldDescriptorProto) -> str:
        if field.type_name:
            return self._link(field.type_name)
        return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()

    def _streamed(self, type_name: str, streams: bool) -> str:
        return ("a stream of " if streams else "") + self._link(type_name)

    def _link(self, type_name: str) -> str:
        name = type_name.removeprefix(".")
        short = name.removeprefix(f"{self.file.package}.")
        return f"[{short}](#{name})" if name in self.known else f"`{name}`"


def _index(files: Sequence[FileDescriptorProto]) -> str:
    """All pages: services first, since they are what one calls."""
    services = [_page_name(file) for file in files if file.service]
    others = [_page_name(file) for file in files if not file.service]
    return "\n".join(
        [
            "# gRPC API",
            "",
            "Every service, message and enum of the package `octohooks.v1`, as its protos say.",
            "",
            *_contents("Services", services),
            "",
            *_contents("Entities", others),
            "",
        ]
    )


def _contents(caption: str, names: Sequence[str]) -> list[str]:
    return ["```{toctree}", ":maxdepth: 1", f":caption: {caption}", "", *names, "```"]


def _comments(file: FileDescriptorProto) -> dict[Place, str]:
    """What stands before each thing in the file, by its path."""
    return {
        tuple(location.path): "\n".join(
            line.strip() for line in location.leading_comments.strip().splitlines()
        )
        for location in file.source_code_info.location
        if location.leading_comments
    }


def _names(file: FileDescriptorProto) -> Iterator[str]:
    def below(prefix: str, message: DescriptorProto) -> Iterator[str]:
        name = f"{prefix}.{message.name}"
        yield name
        for nested in message.nested_type:
            yield from below(name, nested)
        for enum in message.enum_type:
            yield f"{name}.{enum.name}"

    for message in file.message_type:
        yield from below(file.package, message)
    for enum in file.enum_type:
        yield f"{file.package}.{enum.name}"


def _page_name(file: FileDescriptorProto) -> str:
    return Path(file.name).stem


def _title(file: FileDescriptorProto) -> str:
    return Path(file.name).stem.replace("_", " ").capitalize()


def _heading(level: int, text: str, anchor: str) -> Iterator[str]:
    yield ""
    yield f"({anchor})="
    yield ""
    yield f"{'#' * level} {text}"
    yield ""


def _short(full_name: str, package: str) -> str:
    return full_name.removeprefix(f"{package}.")


def _choice(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    """What a field of a `oneof` has besides its comment."""
    if not field.HasField("oneof_index") or field.proto3_optional:
        return ""
    return f" One of `{message.oneof_decl[field.oneof_index].name}`."


def _is_map(message: DescriptorProto) -> bool:
    return message.options.map_entry


def _cell(text: str) -> str:
    return text.strip().replace("|", "\\|")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line above; answers its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages(described()).items():
        Path(folder, f"{name}.md").write_text(text + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
