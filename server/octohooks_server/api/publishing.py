"""The stream of messages: many are stored at once, and each is acknowledged in its turn."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from octohooks.v1.message_service_pb2 import PublishMessagesRequest, PublishMessagesResponse

from octohooks_server.api.stopping import stopping_error

# Messages of one stream that are being stored at the same time. The stream is not read beyond
# them, so a caller that is faster than the disk has to wait.
_WINDOW = 256

_Taken = asyncio.Task[PublishMessagesResponse] | BaseException | None


async def publish(
    requests: AsyncIterator[PublishMessagesRequest],
    accept: Callable[[PublishMessagesRequest], Coroutine[Any, Any, PublishMessagesResponse]],
    stopping: asyncio.Event,
) -> AsyncIterator[PublishMessagesResponse]:
    """Accepts each request and answers what came of it, in the order of the requests.

    When `stopping` is set, no more requests are read; what was read is acknowledged, and the stream
    ends with Unavailable.
    """
    loop = asyncio.get_running_loop()
    taken: asyncio.Queue[_Taken] = asyncio.Queue(maxsize=_WINDOW)

    async def read() -> None:
        try:
            async for request in requests:
                await taken.put(loop.create_task(accept(request)))
            await taken.put(None)
        except Exception as error:
            await taken.put(error)

    async def end_when_stopping() -> None:
        await stopping.wait()
        reader.cancel()
        await taken.put(stopping_error())

    reader = asyncio.create_task(read())
    stopper = asyncio.create_task(end_when_stopping())
    number = 0
    try:
        while (one := await taken.get()) is not None:
            if isinstance(one, BaseException):
                raise one
            number += 1
            response = await one
            response.number = number
            yield response
    finally:
        reader.cancel()
        stopper.cancel()
