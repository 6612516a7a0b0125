"""What one POST costs the server by itself: `python -m benchmarks.posts`.

The sender of the delivery loop posts to the receiver, and nothing else runs in its process.
"""

import argparse
import asyncio
import time
from datetime import UTC, datetime, timedelta

import uvloop
from octohooks_server.delivery.resolver import SystemResolver
from octohooks_server.delivery.sender import Sender
from octohooks_server.rules.addresses import parse_subnets
from octohooks_server.rules.signing import signing_key

from benchmarks.equipment import Equipment
from benchmarks.payload import Payloads

_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_WARM_UP = 500


async def measure(count: int, at_once: int, payload_bytes: int) -> float:
    """Microseconds of CPU that the sender's process spends on each of so many POSTs."""
    async with Equipment.running("benchmarks.receiver") as receiver:
        port = await receiver.ask("port")
        resolver = SystemResolver()
        sender = Sender(
            timeout=timedelta(seconds=15),
            resolver=resolver,
            user_agent="Octohooks/benchmark",
            clock=lambda: datetime.now(UTC),
            allowed_subnets=parse_subnets("127.0.0.0/8"),
        )
        key = signing_key(_SECRET)
        body = Payloads(payload_bytes).now()

        async def post(times: int, url: str) -> None:
            for _ in range(times):
                exchange = await sender.send(
                    url=url, headers={}, message_id="msg_01", body=body, keys=[key]
                )
                if exchange.status != 200:
                    raise SystemExit(f"not delivered: {exchange.error_detail}")

        async def post_all(times: int) -> None:
            urls = [f"http://127.0.0.1:{port}/ok/{number}" for number in range(at_once)]
            await asyncio.gather(*(post(times // at_once, url) for url in urls))

        await post_all(_WARM_UP)
        began = time.process_time()
        await post_all(count)
        used = time.process_time() - began
        await sender.close()
        await resolver.close()
    return used / (count // at_once * at_once) * 1e6


def main() -> None:
    """Prints one line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.posts", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--payload-bytes", type=int, default=1_024)
    options = parser.parse_args()
    microseconds = uvloop.run(measure(options.count, options.at_once, options.payload_bytes))
    print(f"{microseconds:.1f} microseconds of CPU for each POST")


if __name__ == "__main__":
    main()
