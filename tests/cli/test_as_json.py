import json

from google.protobuf.message import Message as AnyMessage
from octohooks.v1.attempt_pb2 import Attempt
from octohooks.v1.attempt_service_pb2 import AttemptEvent
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import BatchCreateMessagesResponse, CreateMessageResult
from octohooks_cli.as_json import json_line

from tests.cli.messages import made


def read(message: AnyMessage) -> object:
    line = json_line(message)
    assert "\n" not in line
    return json.loads(line)


def test_fields_are_named_as_in_the_protos() -> None:
    assert read(made(Message, event_type="a", create_time={"seconds": 1})) == {
        "event_type": "a",
        "create_time": "1970-01-01T00:00:01Z",
    }


def test_a_payload_is_the_json_text_that_it_is() -> None:
    text = '{"name": "Zürich",\n "n": 1.10}'
    assert read(made(Message, payload=text.encode())) == {"payload": text}


def test_bytes_that_are_no_text_are_base64_under_a_name_that_says_so() -> None:
    assert read(Attempt(response_body=b"\xff\xfe")) == {"response_body_base64": "//4="}


def test_bytes_in_fields_of_fields_are_text_too() -> None:
    assert read(AttemptEvent(attempt=Attempt(response_body=b"ok"))) == {
        "attempt": {"response_body": "ok"}
    }
    batch = BatchCreateMessagesResponse(
        results=[CreateMessageResult(message=made(Message, payload=b"{}", tags={"a": "b"}))]
    )
    assert read(batch) == {"results": [{"message": {"payload": "{}", "tags": {"a": "b"}}}]}
