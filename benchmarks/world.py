"""What a scenario needs in the server: an environment, its customers and their endpoints."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from octohooks import AsyncOctohooks

from benchmarks.scenarios import Scenario
from benchmarks.server import OPERATOR_KEY

# Endpoints that fail get a second attempt, and no third.
_SHORT_SCHEDULE = (0, 1)
ATTEMPTS_OF_A_FAILING_ENDPOINT = len(_SHORT_SCHEDULE)
# Calls that are made at the same time.
_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class World:
    """What was made."""

    environment_id: str
    api_key: str
    # By their number.
    application_ids: Sequence[str]
    # By the number of the application; an endpoint's own number counts through all of them.
    endpoint_ids: Sequence[Sequence[str]]

    def endpoint_numbers(self, application: int) -> Sequence[int]:
        """The numbers of an application's endpoints, as their URLs name them."""
        before = sum(map(len, self.endpoint_ids[:application]))
        return range(before, before + len(self.endpoint_ids[application]))


def fails(scenario: Scenario, endpoint: int) -> bool:
    """Whether the endpoint of this number answers 500."""
    return scenario.half_fails and endpoint % 2 == 1


async def make_world(address: str, scenario: Scenario, port: int) -> World:
    """Makes it through the API; the endpoints are at the receiver on this port."""
    async with AsyncOctohooks(OPERATOR_KEY, target=address) as operator:
        environment = await operator.environment.create(
            "Benchmark", retry_schedule=_SHORT_SCHEDULE if scenario.half_fails else None
        )
        key = (await operator.api_key.create(environment=environment.id, name="load")).key
    limit = asyncio.Semaphore(_AT_ONCE)

    async def make_application(client: AsyncOctohooks, number: int) -> tuple[str, list[str]]:
        async with limit:
            application = await client.application.create(name=f"Customer {number}")
        first = number * scenario.fan_out
        endpoints = (
            make_endpoint(client, application.id, endpoint)
            for endpoint in range(first, first + scenario.fan_out)
        )
        return application.id, list(await asyncio.gather(*endpoints))

    async def make_endpoint(client: AsyncOctohooks, application: str, number: int) -> str:
        path = "fail" if fails(scenario, number) else "ok"
        url = f"http://127.0.0.1:{port}/{path}/{number}"
        async with limit:
            return (await client.endpoint.create(application, url=url)).id

    async with AsyncOctohooks(key, target=address) as client:
        numbers = range(scenario.applications)
        made = await asyncio.gather(*(make_application(client, number) for number in numbers))
    return World(environment.id, key, [id for id, _ in made], [ids for _, ids in made])
