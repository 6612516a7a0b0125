"""Sealing secrets by the operator's keys."""

import os
from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from octohooks_server.rules.keyring import (
    CannotOpen,
    Keyring,
    encoded_key,
    key_id,
    key_id_of,
    parse_keys,
)

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
PLACE = ("endpoints.headers", "env_1", "ep_1")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def keyring(*keys: bytes) -> Keyring:
    return Keyring(keys, os.urandom)


@given(text=st.text(), place=st.lists(st.text()))
def test_what_is_sealed_opens_in_its_place(text: str, place: list[str]) -> None:
    keys = keyring(NEW)
    stored = keys.seal(text, place)
    assert keys.open(stored, place) == text
    assert key_id_of(stored) == keys.newest == key_id(NEW)


def test_what_is_sealed_tells_nothing_and_is_never_sealed_alike() -> None:
    keys = keyring(NEW)
    one, other = keys.seal(SECRET, PLACE), keys.seal(SECRET, PLACE)
    assert one != other
    assert SECRET not in one
    assert b64encode(SECRET.encode()).decode().rstrip("=") not in one


@pytest.mark.parametrize(
    "elsewhere",
    [
        ("endpoint_secrets.secret", "env_1", "ep_1"),
        ("endpoints.headers", "env_2", "ep_1"),
        ("endpoints.headers", "env_1", "ep_2"),
        ("endpoints.headers", "env_1", "ep_1", "1"),
        ("endpoints.headers", "env_1ep_1", ""),
        ("endpoints.headers", "env_", "1ep_1"),
    ],
)
def test_what_is_sealed_opens_in_no_other_place(elsewhere: tuple[str, ...]) -> None:
    stored = keyring(NEW).seal(SECRET, PLACE)
    with pytest.raises(CannotOpen, match="was altered, or sealed for another place"):
        keyring(NEW).open(stored, elsewhere)


@given(data=st.data())
def test_what_is_altered_does_not_open(data: st.DataObject) -> None:
    keys = keyring(NEW)
    head, _, tail = keys.seal(SECRET, PLACE).rpartition(":")
    raw = bytearray(b64decode(tail))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CannotOpen):
        keys.open(f"{head}:{b64encode(raw).decode()}", PLACE)


@pytest.mark.parametrize("tail", ["", "AAAA", "no base64!", "é"])
def test_what_is_cut_or_no_base64_does_not_open(tail: str) -> None:
    with pytest.raises(CannotOpen):
        keyring(NEW).open(f"sealed:{key_id(NEW)}:{tail}", PLACE)


def test_the_newest_key_seals_and_older_ones_still_open() -> None:
    old = keyring(OLD).seal(SECRET, PLACE)
    both = keyring(NEW, OLD)
    assert both.open(old, PLACE) == SECRET
    assert key_id_of(both.seal(SECRET, PLACE)) == key_id(NEW)


def test_a_key_that_is_missing_is_named_without_the_secret() -> None:
    stored = keyring(OLD).seal(SECRET, PLACE)
    with pytest.raises(CannotOpen) as raised:
        keyring(NEW).open(stored, PLACE)
    assert key_id(OLD) in str(raised.value)
    assert "endpoints.headers of env_1 ep_1" in str(raised.value)
    assert stored.rpartition(":")[2] not in str(raised.value)


def test_without_a_key_texts_stay_plain_and_plain_ones_are_read_with_keys_too() -> None:
    assert keyring().seal(SECRET, PLACE) == SECRET
    assert keyring().newest is None
    assert keyring(NEW).open(SECRET, PLACE) == SECRET


def test_keys_are_parsed_from_base64_in_their_order() -> None:
    made = [encoded_key(os.urandom) for _ in range(3)]
    assert parse_keys(f"{made[0]}, {made[1]}\n{made[2]}\n") == tuple(map(b64decode, made))
    assert parse_keys("") == ()


@pytest.mark.parametrize(
    "wrong", ["secret", "c2hvcnQ=", b64encode(bytes(31)).decode(), b64encode(bytes(33)).decode()]
)
def test_a_wrong_key_is_refused_by_its_number_and_not_repeated(wrong: str) -> None:
    with pytest.raises(ValueError, match="key 2 must be the base64 of 32") as raised:
        parse_keys(f"{encoded_key(os.urandom)},{wrong}")
    assert wrong not in str(raised.value)


def test_a_key_is_not_named_twice() -> None:
    key = encoded_key(os.urandom)
    with pytest.raises(ValueError, match="twice"):
        parse_keys(f"{key},{key}")
