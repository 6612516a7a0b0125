"""The dashboard and the alerts ask for metrics that a server has, in the language of Prometheus."""

import json
import re
from collections.abc import Mapping

import pytest
import yaml
from octohooks_server.observation.metrics import Metrics

from tests.docs.markdown import ROOT, anchors

_FOLDER = ROOT / "deploy/observation"
_DASHBOARD = json.loads((_FOLDER / "grafana/octohooks.json").read_text("utf-8"))
_ALERTS = [
    rule
    for group in yaml.safe_load((_FOLDER / "alerts.yaml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
_PANELS = [panel for panel in _DASHBOARD["panels"] if panel["type"] != "row"]

# What Prometheus itself adds to every sample and target.
_ADDED_LABELS = {"instance", "job"}
_ADDED_METRICS = {"up": _ADDED_LABELS}
_FUNCTIONS = {"changes", "histogram_quantile", "increase", "rate"}
_AGGREGATIONS = {"max", "sum"}
_WORDS = {"and", "by", "or", "le"}

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
    | (?P<selector>\{[^{}]*\})
    | (?P<range>\[(?:\d+[smhd]|\$__rate_interval)\])
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<operator>==|!=|>=|<=|[-+*/<>(),])
    """,
    re.VERBOSE,
)
_MATCHER = re.compile(r'([a-z_]+)(=~|!~|!=|=)"([^"]*)"')


def sample_labels() -> Mapping[str, set[str]]:
    """The names of all samples that a server may show, with their labels."""
    metrics = Metrics()
    found: dict[str, set[str]] = dict(_ADDED_METRICS)
    for instrument in metrics.instruments():
        labels = set(instrument.name.labels) | _ADDED_LABELS
        if instrument.kind == "histogram":
            found[f"{instrument.name.name}_bucket"] = labels | {"le"}
            for end in ("_count", "_sum"):
                found[instrument.name.name + end] = labels
        else:
            found[instrument.name.name] = labels
    for family in metrics.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set(sample.labels) | _ADDED_LABELS)
    return found


_SAMPLES = sample_labels()


# Each expression, under the name of its panel or alert.
_EXPRESSIONS = [
    *(
        pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
        for panel in _PANELS
        for target in panel["targets"]
    ),
    *(pytest.param(rule["expr"], id=rule["alert"]) for rule in _ALERTS),
]


def tokens(expression: str) -> list[tuple[str, str]]:
    """Kind and text of each word; fails at what is none."""
    found = []
    position = 0
    while position < len(expression):
        token = _TOKEN.match(expression, position)
        assert token is not None, f"not understood: {expression[position:]}"
        position = token.end()
        kind = token.lastgroup
        assert kind is not None
        if kind != "space":
            found.append((kind, token.group()))
    return found


@pytest.mark.parametrize("expression", _EXPRESSIONS)
def test_every_metric_and_label_exists(expression: str) -> None:
    metric = ""
    grouping = False
    for kind, text in tokens(expression):
        if kind == "word":
            if grouping:
                assert any(text in labels for labels in _SAMPLES.values()), text
            elif text not in _FUNCTIONS | _AGGREGATIONS | _WORDS:
                assert text in _SAMPLES, text
                metric = text
            grouping = grouping or text == "by"
        elif kind == "selector":
            matchers = _MATCHER.findall(text)
            assert text == "{" + ",".join("".join((a, b, f'"{c}"')) for a, b, c in matchers) + "}"
            for label, _, _ in matchers:
                assert label in _SAMPLES[metric], f"{metric} has no label {label}"
        elif text == ")":
            grouping = False


@pytest.mark.parametrize("expression", _EXPRESSIONS)
def test_what_counts_up_is_asked_for_its_rate_and_what_does_not_is_not(expression: str) -> None:
    words = tokens(expression)
    for place, (kind, text) in enumerate(words):
        if kind != "word" or text not in _SAMPLES:
            continue
        around = [word for _, word in words[max(place - 2, 0) : place]]
        counts_up = text.endswith(("_total", "_bucket", "_count", "_sum"))
        follows_rate = around in (["rate", "("], ["increase", "("])
        assert counts_up == follows_rate, text
        if follows_rate or around == ["changes", "("]:
            after = words[place + 1 : place + 3]
            assert "range" in {kind for kind, _ in after}, f"{text} has no range"
    if "histogram_quantile" in expression:
        assert re.search(r"by \(le\b", expression)
    depth = 0
    for kind, text in words:
        depth += {"(": 1, ")": -1}.get(text, 0) if kind == "operator" else 0
        assert depth >= 0
    assert depth == 0


def test_every_panel_says_what_it_shows() -> None:
    titles = [panel["title"] for panel in _PANELS]
    assert len(titles) == len(set(titles))
    for panel in _PANELS:
        assert panel["description"].endswith("."), panel["title"]
        assert "octohooks_" not in panel["title"]
    ids = [panel["id"] for panel in _DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_the_label_values_that_are_asked_for_are_shown_by_a_server() -> None:
    known = {
        "outcome": {"succeeded", "failed"},
        "status": {"succeeded", "failed"},
        "kind": {"away", "full"},
        "part": {"delivery", "upkeep", "messages", "outcomes"},
        "code": {"OK", "INTERNAL", "UNKNOWN"},
    }
    asked = [
        matcher
        for parameters in _EXPRESSIONS
        for matcher in _MATCHER.findall(str(parameters.values[0]))
        if matcher[0] not in _ADDED_LABELS
    ]
    assert asked
    for label, _, value in asked:
        assert set(value.split("|")) <= known[label], label


def test_every_alert_says_how_grave_it_is_and_what_to_do() -> None:
    page = anchors(ROOT / "docs/observing.md")
    for rule in _ALERTS:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["alert"].lower() in page


def test_prometheus_reads_the_ports_that_the_servers_open() -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text("utf-8"))
    server = compose["services"]["server"]
    workers = int(server["command"][server["command"].index("--workers") + 1])
    first = int(server["environment"]["OCTOHOOKS_METRICS_LISTEN"].rpartition(":")[2])
    (scrape,) = yaml.safe_load((_FOLDER / "prometheus.yaml").read_text("utf-8"))["scrape_configs"]
    (static,) = scrape["static_configs"]
    assert static["targets"] == [f"server:{first + number}" for number in range(workers)]
    assert scrape["job_name"] == "octohooks"


def test_every_file_that_is_mounted_is_there() -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text("utf-8"))
    mounted = [
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", ())
        if volume.startswith(".")
    ]
    assert mounted
    for path in mounted:
        assert (ROOT / "deploy" / path).exists(), path
