"""What somebody who is not intake may write to the log: none of it is an event there."""

from engage.events import codec
from engage.testing.log_contract import order

_ENVELOPE = b'{"specversion":"1.0","id":"deep","source":"a","type":"ticket.opened","subject":"account-1","data":'

STRANGE: dict[str, bytes] = {
    "no JSON": b"{ no json",
    "no UTF-8": codec.encode(codec.decode(order(8))).replace(b"order-8", b"\xff\xfe\xff\xfe"),
    "too deep": _ENVELOPE + b"[" * 100_000,
    "an event that was sent to the log and not to the inbox": order(9),
}
