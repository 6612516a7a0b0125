"""The reference of the gRPC API out of the protos."""

import pytest
from octohooks.calls import SERVICES

from tools.document_api import described, pages


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    """The pages by their names."""
    return pages(described())


def test_the_reference_has_every_rpc_with_what_it_takes_and_answers(
    reference: dict[str, str],
) -> None:
    text = "\n".join(reference.values())
    for service in SERVICES:
        for method in service.methods:
            assert f"({method.full_name})=\n\n## {method.name}\n" in text
            for message in (method.input_type, method.output_type):
                assert f"({message.full_name})=" in text
                assert f"[{message.name}](#{message.full_name})" in text


def test_the_reference_says_something_about_every_field_and_value(
    reference: dict[str, str],
) -> None:
    rows = [line for page in reference.values() for line in page.splitlines() if "| `" in line]
    assert len(rows) > 300
    assert [row for row in rows if row.endswith("|  |")] == []


def test_the_index_leads_to_every_page(reference: dict[str, str]) -> None:
    listed = reference["index"].splitlines()
    assert {name for name in reference if name != "index"} <= set(listed)
