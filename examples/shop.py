"""A shop that tells its customers when an invoice of theirs is paid.

python examples/shop.py sign-up acme http://127.0.0.1:8001/webhooks
python examples/shop.py pay acme 1 1250
"""

import argparse

from octohooks import AlreadyExists, Octohooks

EVENT_TYPE = "invoice.paid"
ENDPOINT = "main"


def sign_up(octohooks: Octohooks, customer: str, url: str) -> str:
    """Sends the customer's webhooks to this URL from now on; answers the secret that they are
    verified with. Once more with another URL, it moves them there and keeps the secret."""
    octohooks.application.update(customer, name=customer.title())
    octohooks.endpoint.update(
        customer, ENDPOINT, url=url, event_types=[EVENT_TYPE], allow_missing=True
    )
    newest, *_ = octohooks.endpoint.secret(customer, ENDPOINT)
    return newest.secret


def pay(octohooks: Octohooks, customer: str, invoice: int, cents: int) -> bool:
    """Tells the customer that the invoice is paid; false when that was told before.

    The invoice names the message, so a shop that crashes between its own commit and this call can
    make it once more at its next start.
    """
    try:
        octohooks.message.create(
            customer,
            uid=f"invoice-{invoice}",
            event_type=EVENT_TYPE,
            payload={"type": EVENT_TYPE, "data": {"invoice": invoice, "cents": cents}},
        )
    except AlreadyExists:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description="A shop that sends webhooks to its customers.")
    commands = parser.add_subparsers(dest="command", required=True)
    signing_up = commands.add_parser("sign-up", help="say where a customer's webhooks go")
    signing_up.add_argument("customer")
    signing_up.add_argument("url")
    paying = commands.add_parser("pay", help="pay an invoice of a customer")
    paying.add_argument("customer")
    paying.add_argument("invoice", type=int)
    paying.add_argument("cents", type=int)
    arguments = parser.parse_args()
    # The key and the server are in OCTOHOOKS_API_KEY and OCTOHOOKS_TARGET.
    with Octohooks() as octohooks:
        if arguments.command == "sign-up":
            print(sign_up(octohooks, arguments.customer, arguments.url))
        elif pay(octohooks, arguments.customer, arguments.invoice, arguments.cents):
            print(f"invoice {arguments.invoice} is paid, and {arguments.customer} will know")
        else:
            print(f"invoice {arguments.invoice} was paid before")


if __name__ == "__main__":
    main()
