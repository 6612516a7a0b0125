"""How a webhook that arrived is shown."""

import json

from rich.highlighter import JSONHighlighter
from rich.text import Text

from octohooks_cli.output import Output
from octohooks_cli.receiver import Arrival
from octohooks_cli.text import local_time, printable

_SIGNATURES = {
    None: ("signature not checked (no --secret)", "yellow"),
    True: ("signature verified", "green"),
    False: ("signature WRONG", "bold red"),
}


def show_arrival(output: Output, arrival: Arrival) -> None:
    """Shows a request and its body, or a JSON line of both."""
    if output.as_json:
        output.json(_json(arrival))
        return
    output.line(_head(arrival))
    if arrival.body:
        output.line(_body(arrival.body))


def _head(arrival: Arrival) -> Text:
    verdict, style = _SIGNATURES[arrival.verified]
    parts = [
        Text(local_time(arrival.time), style="dim"),
        Text(printable(f"{arrival.method} {arrival.path}"), style="bold"),
        Text(printable(arrival.webhook_id)),
        Text(f"{verdict}: {arrival.problem}" if arrival.problem else verdict, style=style),
        Text(f"answered {arrival.status}", style="green" if arrival.status < 300 else "red"),
    ]
    return Text("  ").join(part for part in parts if part)


def _body(body: bytes) -> Text:
    text = body.decode(errors="backslashreplace")
    try:
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return Text(printable(text))
    return JSONHighlighter()(Text(printable(text)))


def _json(arrival: Arrival) -> str:
    return json.dumps(
        {
            "time": arrival.time.isoformat(),
            "method": arrival.method,
            "path": arrival.path,
            "webhook_id": arrival.webhook_id,
            "verified": arrival.verified,
            "problem": arrival.problem,
            "status": arrival.status,
            "headers": dict(arrival.headers),
            "body": arrival.body.decode(errors="backslashreplace"),
        },
        ensure_ascii=False,
    )
