"""Reads a server's metrics as Prometheus does."""

from dataclasses import dataclass

import aiohttp
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.server.api.serving import Server


@dataclass(frozen=True)
class Scrape:
    """All metrics as of one moment."""

    families: dict[str, Metric]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels among theirs."""
        return sum(
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def since(self, before: "Scrape", name: str, **labels: str) -> float:
        """How much more it is than it was before."""
        return self.value(name, **labels) - before.value(name, **labels)


async def scrape(server: Server) -> Scrape:
    """The metrics of a server, now."""
    status, text = await get(server, "/metrics")
    assert status == 200, text
    return Scrape({family.name: family for family in text_string_to_metric_families(text)})


async def get(server: Server, path: str, **headers: str) -> tuple[int, str]:
    """The status and the body of an answer of the server's HTTP port."""
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"http://{server.running.metrics_address}{path}", headers=headers) as response,
    ):
        return response.status, await response.text()
