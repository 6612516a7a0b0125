"""Counters, histograms and gauges that cost the event loop next to nothing.

They are written and read in one thread, the event loop's, and so need no lock; a value is put into
Prometheus' form when it is asked for.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

LabelValues = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Name:
    """How an instrument is known: its name in Prometheus, what it says, and its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


class Counter:
    """Counts up, for each combination of label values by itself."""

    kind = "counter"

    def __init__(self, name: str, help: str, *labels: str) -> None:
        """`name` ends in `_total`."""
        self.name = Name(name, help, labels)
        # Without labels it is there from the start, so that its first increase is seen as one.
        self._values: dict[LabelValues, float] = {} if labels else {(): 0.0}

    def add(self, *labels: str, amount: float = 1.0) -> None:
        """Counts `amount` more under these label values, given in the labels' order."""
        self._values[labels] = self._values.get(labels, 0.0) + amount

    def begin(self, *labels: str) -> None:
        """Shows these label values from now on, as 0 until they are counted."""
        self._values.setdefault(labels, 0.0)

    def family(self) -> Metric:
        """Its present values."""
        family = CounterMetricFamily(
            self.name.name.removesuffix("_total"), self.name.help, labels=self.name.labels
        )
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        return family


class Histogram:
    """Counts values by size, for each combination of label values by itself."""

    kind = "histogram"

    def __init__(self, name: str, help: str, *labels: str, bounds: Sequence[float]) -> None:
        """`bounds` are the upper ends of its buckets, in rising order, without infinity."""
        self.name = Name(name, help, labels)
        self._bounds = tuple(bounds)
        self._series: dict[LabelValues, _Series] = {}
        if not labels:
            self._series[()] = self._new_series()

    def observe(self, value: float, *labels: str) -> None:
        """Counts one value under these label values, given in the labels' order."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = self._new_series()
        series.counts[bisect_left(self._bounds, value)] += 1
        series.sum += value

    def family(self) -> Metric:
        """Its present values."""
        family = HistogramMetricFamily(self.name.name, self.name.help, labels=self.name.labels)
        ends = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for labels, series in self._series.items():
            total = 0
            buckets = []
            for end, count in zip(ends, series.counts, strict=True):
                total += count
                buckets.append((end, float(total)))
            family.add_metric(labels, buckets, series.sum)
        return family

    def _new_series(self) -> "_Series":
        return _Series([0] * (len(self._bounds) + 1))


@dataclass(slots=True)
class _Series:
    counts: list[int]
    sum: float = 0.0


class Gauge:
    """A value of the moment, read where it is when somebody asks."""

    kind = "gauge"

    def __init__(self, name: str, help: str, *labels: str) -> None:
        self.name = Name(name, help, labels)
        self._read: Callable[[], Mapping[LabelValues, float]] = dict

    def follow(self, read: Callable[[], float | None]) -> None:
        """Shows what `read` answers; nothing while that is None. For a gauge without labels."""

        def one() -> Mapping[LabelValues, float]:
            value = read()
            return {} if value is None else {(): value}

        self._read = one

    def follow_all(self, read: Callable[[], Mapping[LabelValues, float]]) -> None:
        """Shows the values that `read` answers, by their label values."""
        self._read = read

    def family(self) -> Metric:
        """Its present values."""
        family = GaugeMetricFamily(self.name.name, self.name.help, labels=self.name.labels)
        for labels, value in self._read().items():
            family.add_metric(labels, value)
        return family


Instrument = Counter | Histogram | Gauge
