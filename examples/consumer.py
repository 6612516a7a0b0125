"""A customer of the shop, who books each paid invoice once.

WEBHOOK_SECRET=whsec_... python examples/consumer.py --port 8001
"""

import argparse
import os
import sqlite3
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from octohooks import Webhook, WebhookVerificationError


class Ledger:
    """The invoices that were paid."""

    def __init__(self, path: str) -> None:
        """`path` is a file, or `:memory:`."""
        self._database = sqlite3.connect(path)
        self._database.execute("CREATE TABLE IF NOT EXISTS handled (webhook_id TEXT PRIMARY KEY)")
        self._database.execute("CREATE TABLE IF NOT EXISTS paid (invoice INTEGER, cents INTEGER)")

    def book(self, webhook_id: str, invoice: int, cents: int) -> bool:
        """Books the invoice; false when this webhook was booked before, since it can come more than
        once. Both are noted in one transaction."""
        with self._database:
            noted = self._database.execute(
                "INSERT INTO handled VALUES (?) ON CONFLICT DO NOTHING", (webhook_id,)
            )
            if noted.rowcount == 0:
                return False
            self._database.execute("INSERT INTO paid VALUES (?, ?)", (invoice, cents))
        return True

    def total(self) -> int:
        """All that was paid, in cents."""
        (cents,) = self._database.execute("SELECT coalesce(sum(cents), 0) FROM paid").fetchone()
        return int(cents)


class Consumer(HTTPServer):
    """Takes webhooks at any path, one at a time."""

    def __init__(self, port: int, webhook: Webhook, ledger: Ledger) -> None:
        super().__init__(("127.0.0.1", port), _Request)
        self.webhook = webhook
        self.ledger = ledger


class _Request(BaseHTTPRequestHandler):
    server: Consumer
    # Seconds: one who connects and sends nothing holds the others up no longer.
    timeout = 10

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            event = self.server.webhook.verify(body, self.headers)
        except WebhookVerificationError as error:
            print(f"refused: {error}", flush=True)
            self._answer(400)
            return
        # Other event types may come one day; they are no failure.
        if event["type"] == "invoice.paid":
            self._book(event["data"])
        self._answer(204)

    def _book(self, invoice: dict[str, int]) -> None:
        number, cents = invoice["invoice"], invoice["cents"]
        if self.server.ledger.book(self.headers["webhook-id"], number, cents):
            print(f"invoice {number} is paid: {cents / 100:.2f}", flush=True)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing of its own."""


def main() -> None:
    parser = argparse.ArgumentParser(description="A customer who books what is paid.")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--ledger", default=":memory:", help="a file that keeps what is booked")
    arguments = parser.parse_args()
    webhook = Webhook(os.environ["WEBHOOK_SECRET"])
    with Consumer(arguments.port, webhook, Ledger(arguments.ledger)) as consumer:
        print(f"listening at http://127.0.0.1:{consumer.server_port}/webhooks", flush=True)
        consumer.serve_forever()


if __name__ == "__main__":
    main()
