"""A process that publishes through an outbox until it is killed: its arguments are the URL and the spool's folder."""

import sys

import engage
from tests.http.given import order

with engage.Outbox(sys.argv[1], sys.argv[2]) as outbox:
    for number in range(1_000_000):
        outbox.put(order(f"o-{number}"))
        print(number, flush=True)  # noqa: T201
