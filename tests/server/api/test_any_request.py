"""Whatever a request holds, it is answered or refused; it is never a defect."""

from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st
from octohooks import AsyncOctohooks

from tests.server.api.calls import Refused
from tests.server.api.rpcs import RPCS, Rpc
from tests.server.api.serving import Server, Tenant

pytestmark = pytest.mark.asyncio(loop_scope="session")

# What exists in the environment that requests are made in, so that they get far; and traps.
_WORDS = st.sampled_from(
    [
        *("", "acme", "main", "m", "e", "invoice.paid", "http://127.0.0.1:9/", "{}", "a/b"),
        *(
            "app_",
            "ep_01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "\0",
            "'",
            '"',
            "\\",
            "%",
            "\ud7ff",
            "\U0001f419",
        ),
        *(
            '{"type":"object"}',
            "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "update_mask",
            "name",
            "uid",
        ),
    ]
)
_TEXTS = st.one_of(_WORDS, _WORDS, st.text(max_size=8), st.just("x" * 300))
_SMALL = st.sampled_from([0, 1, 2, 5])
_BY_TYPE: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: _TEXTS,
    FieldDescriptor.TYPE_BYTES: st.one_of(
        st.sampled_from([b"{}", b"null", b"[1e999]", b'"\xed\xa0\x80"', b"[" * 2_000]),
        st.binary(max_size=8),
    ),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: st.one_of(_SMALL, st.integers(-(2**31), 2**31 - 1)),
    FieldDescriptor.TYPE_UINT32: st.one_of(_SMALL, st.integers(0, 2**32 - 1)),
    FieldDescriptor.TYPE_INT64: st.one_of(_SMALL, st.integers(-(2**63), 2**63 - 1)),
}


def values_of(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """Values for a field, in the form that `filled` takes."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return st.dictionaries(_TEXTS, _TEXTS, max_size=2)
    if field.message_type is not None:
        one = messages(field.message_type)
    elif field.enum_type is not None:
        one = st.sampled_from([value.number for value in field.enum_type.values])
    else:
        one = _BY_TYPE[field.type]
    return st.lists(one, max_size=2) if field.is_repeated else one


def filled(descriptor: Descriptor, values: dict[str, Any]) -> Message:
    """A message with these values in its fields."""
    message: Any = GetMessageClass(descriptor)()
    for name, value in values.items():
        field = descriptor.fields_by_name[name]
        if isinstance(value, dict):
            getattr(message, name).update(value)
        elif field.is_repeated:
            getattr(message, name).extend(value)
        elif field.message_type is not None:
            getattr(message, name).CopyFrom(value)
        else:
            setattr(message, name, value)
    return message  # type: ignore[no-any-return]


def later(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """`values_of`, asked for when it is needed."""
    return st.deferred(lambda: values_of(field))


def messages(descriptor: Any) -> st.SearchStrategy[Message]:
    """Messages of a kind, of which any field may be set."""
    fields = {field.name: later(field) for field in descriptor.fields}
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: filled(descriptor, values))


def requests(rpc: Rpc) -> st.SearchStrategy[tuple[Rpc, bytes]]:
    """Requests of an RPC as bytes, which at times are broken too."""
    data = messages(rpc.request_type.DESCRIPTOR).map(lambda request: request.SerializeToString())
    return st.one_of(data, data, data, st.binary(max_size=32)).map(lambda it: (rpc, it))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def furnished(server: Server) -> Tenant:
    """An environment in which something is to be found."""
    tenant = await server.new_tenant(enforce_schemas=True)
    await furnish(tenant.octohooks)
    return tenant


async def furnish(octohooks: AsyncOctohooks) -> None:
    await octohooks.application.update("acme", name="Acme")
    await octohooks.endpoint.update(
        "acme", "main", url="http://127.0.0.1:9/", disabled=True, allow_missing=True
    )
    await octohooks.event_type.update("e", examples=["{}"], allow_missing=True)


@given(asked=st.sampled_from(RPCS).flatmap(requests))
@settings(max_examples=150)
async def test_no_request_meets_a_defect(
    server: Server, furnished: Tenant, asked: tuple[Rpc, bytes]
) -> None:
    rpc, data = asked
    of_operator = rpc.service.endswith(".EnvironmentService")
    api = server.operator if of_operator else furnished.api
    if rpc.method.startswith("Delete"):
        await furnish(furnished.octohooks)

    try:
        await api.exchange(rpc, [data])
    except Refused as error:
        refusal = error.refusal
        assert refusal.code not in ("INTERNAL", "UNKNOWN", "UNIMPLEMENTED", "UNAVAILABLE")
        assert refusal.reason
        assert refusal.message
