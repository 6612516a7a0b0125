"""The page about errors."""

import re

from octohooks.v1.error_pb2 import ErrorReason

from tests.docs.markdown import ROOT, rows

PAGE = ROOT / "docs/errors.md"


def test_the_table_of_reasons_has_every_reason_of_the_contract_with_its_code() -> None:
    proto = (ROOT / "protos/octohooks/v1/error.proto").read_text("utf-8")
    codes = {reason: code for code, reason in _codes_and_reasons(proto)}
    names = ErrorReason.DESCRIPTOR.values_by_name
    assert {f"ERROR_REASON_{reason}" for reason in codes} == {*names} - {"ERROR_REASON_UNSPECIFIED"}
    documented = {
        row[0].strip("`"): row[1].strip("`")
        for row in rows(PAGE)
        if f"ERROR_REASON_{row[0].strip('`')}" in names
    }
    assert documented == codes


def _codes_and_reasons(proto: str) -> list[tuple[str, str]]:
    """Each reason with the code that its comment begins with."""
    found = []
    comment = ""
    for line in proto.splitlines():
        line = line.strip()
        if line.startswith("//"):
            comment += line.removeprefix("//").strip() + " "
            continue
        value = re.fullmatch(r"ERROR_REASON_(\w+) = [1-9]\d*;", line)
        if value:
            found.append((comment.partition(":")[0], value[1]))
        comment = ""
    return found
