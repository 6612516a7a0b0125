import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from octohooks_server.rules import ids
from octohooks_server.rules.names import (
    channel_count_problem,
    channel_problem,
    event_type_problem,
    uid_problem,
)

# The edges of the character classes, and what is easily let through by mistake.
texts = st.text("aZ09-_.:/ \n\u00e9\u0660\u212a", max_size=4) | st.builds(
    lambda length: "a" * length, st.integers(126, 258)
)


@given(texts)
def test_names_follow_the_patterns_of_the_product(text: str) -> None:
    name = re.match(r"^[a-zA-Z0-9\-_.]{1,256}\Z", text) is not None
    channel = re.match(r"^[a-zA-Z0-9\-_.:/]{1,128}\Z", text) is not None
    assert (uid_problem(text) is None) == name
    assert (event_type_problem(text) is None) == name
    assert (channel_problem(text) is None) == channel


@pytest.mark.parametrize("prefix", ids.PREFIXES)
def test_a_uid_cannot_be_taken_for_an_id(prefix: str) -> None:
    assert uid_problem(prefix + "1") is not None
    assert uid_problem("my-" + prefix) is None
    assert event_type_problem(prefix + "1") is None


def test_channels_are_counted() -> None:
    assert channel_count_problem(["a"] * 5, limit=5) is None
    assert channel_count_problem(["a"] * 6, limit=5) is not None
