"""YAML, read as JSON is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from octohooks_server.api.yaml_documents import YamlProblem, read_yaml


def problem(text: str) -> str:
    with pytest.raises(YamlProblem) as raised:
        read_yaml(text)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", "a"),
        ("12", 12),
        ("-3", -3),
        ("012", 12),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("99999999999999999999", 1e20),
        # What YAML 1.1 reads as a truth value, a date, a number to the base of 60.
        ("no", "no"),
        ("2026-01-31", "2026-01-31"),
        ("12:30", "12:30"),
    ],
)
def test_scalars_are_those_of_the_core_schema(text: str, value: Any) -> None:
    read = read_yaml(text)

    assert read == value
    assert type(read) is type(value)


def test_keys_are_text_whatever_they_look_like() -> None:
    assert read_yaml("200: a\ntrue: b\n~: c") == {"200": "a", "true": "b", "~": "c"}


def test_text_over_several_lines_is_kept() -> None:
    assert read_yaml("a: |\n  one\n  two\nb: >\n  one\n  two\n") == {
        "a": "one\ntwo\n",
        "b": "one two\n",
    }


def test_aliases_stand_for_what_they_name() -> None:
    assert read_yaml("a: &x [1, {b: 2}]\nc: *x") == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}


def test_merge_keys_give_way_to_own_and_earlier_entries() -> None:
    text = "one: &one {a: 1, b: 1}\ntwo: &two {b: 2, c: 2}\nall:\n  <<: [*one, *two]\n  a: 3"

    assert read_yaml(text)["all"] == {"a": 3, "b": 1, "c": 2}


# Of characters beyond these JSON writes two halves, which YAML has not.
_text = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=20)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**17), 10**17) | _text,
        lambda inner: st.lists(inner) | st.dictionaries(_text, inner),
        max_leaves=20,
    )
)
def test_json_is_read_as_what_it_says(value: Any) -> None:
    assert read_yaml(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("--- 1\n--- 2", "more than one"),
        ("a: b: c", "line 1, column 5"),
        ("a:\n\t- 1", "not valid YAML"),
        ("\x00", "characters"),
        ("a: 1\nb: 2\na: 3", "'a' comes twice (line 3, column 1)"),
        ("? [a]\n: 1", "key is no text"),
        ("&a [1]: 1", "key is no text"),
        ("a: &a [1]\n*a : 1", "key is no text (line 2, column 1)"),
        ("a: *b", "stands for nothing (line 1, column 4)"),
        ("a: &a [*a]", "stands for nothing"),
        ("a: .inf", "number that JSON has not"),
        ("a: .NaN", "number that JSON has not"),
        ("a: 1e999", "number that JSON has not"),
        ("!!binary aGVsbG8=", "tag"),
        ("!!set {a, b}", "tag"),
        ("!own a", "tag"),
        ("<<: [1]", "merged is no object"),
    ],
)
def test_what_json_cannot_say_is_refused(text: str, why: str) -> None:
    assert why in problem(text)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch made']",
        "!!python/object/new:os.system ['touch made']",
        "!!python/name:os.system",
        "!!python/module:os ''",
    ],
)
def test_no_tag_runs_anything(text: str) -> None:
    assert "tag" in problem(text)


def bomb(first: str, rest: str, levels: int) -> str:
    lines = [f"a0: &a0 {first}"]
    for level in range(1, levels):
        inside = ",".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} {rest.format(inside)}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        bomb("[x,x,x,x,x,x,x,x,x]", "[{}]", 12),
        bomb("{k: v}", "{{<<: [{}]}}", 30),
        f"a: &a {'x' * 100_000}\nb: [{','.join(['*a'] * 500)}]",
    ],
    ids=["lists", "merges", "a long text"],
)
def test_few_lines_that_stand_for_billions_of_values_are_refused(text: str) -> None:
    """They would take longer than a test may, and more memory than there is."""
    assert "too large" in problem(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        "{a: " * 200_000,
        "- " * 500_000,
        "\n".join(" " * level + "a:" for level in range(200)),
        "\n".join(["a0: &a0 [1]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200))]),
    ],
    ids=["lists", "objects", "dashes", "indented", "aliases"],
)
def test_deep_nesting_is_refused_at_once(text: str) -> None:
    assert "100 levels" in problem(text)
