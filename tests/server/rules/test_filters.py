import pytest
from hypothesis import given
from hypothesis import strategies as st
from octohooks_server.rules.filters import Refusal, refusal, wants

names = st.sampled_from(["a", "b", "c", "A"])
few_names = st.lists(names, max_size=3)


@given(few_names, few_names, names, few_names)
def test_an_endpoint_wants_what_both_rules_let_through(
    endpoint_types: list[str], endpoint_channels: list[str], event_type: str, channels: list[str]
) -> None:
    type_fits = endpoint_types == [] or event_type in endpoint_types
    channel_fits = endpoint_channels == [] or bool(set(endpoint_channels) & set(channels))
    assert wants(endpoint_types, endpoint_channels, event_type, channels) == (
        type_fits and channel_fits
    )


@pytest.mark.parametrize(
    ("endpoint_types", "endpoint_channels", "channels", "expected"),
    [
        ([], [], [], None),
        ([], [], ["eu"], None),
        (["invoice.paid"], [], [], None),
        (["invoice"], [], [], Refusal.EVENT_TYPE),
        (["Invoice.Paid"], [], [], Refusal.EVENT_TYPE),
        ([], ["eu"], [], Refusal.CHANNEL),
        ([], ["eu"], ["EU"], Refusal.CHANNEL),
        ([], ["eu", "us"], ["us"], None),
        (["invoice.paid"], ["eu"], ["us"], Refusal.CHANNEL),
        (["other"], ["eu"], ["us"], Refusal.EVENT_TYPE),
    ],
)
def test_the_rule_that_refused_is_told(
    endpoint_types: list[str],
    endpoint_channels: list[str],
    channels: list[str],
    expected: Refusal | None,
) -> None:
    assert refusal(endpoint_types, endpoint_channels, "invoice.paid", channels) == expected
