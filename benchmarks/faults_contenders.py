"""The workers that ``benchmarks.faults`` kills: each counts orders per account and answers every order with a record.

python -m benchmarks.faults_contenders NAME BOOTSTRAP PREFIX HOME
"""

from __future__ import annotations

import sys
from typing import Any

import faust
import orjson
from msgspec import Struct

from engage.events.catalogue.commerce import OrderCompleted
from engage.log.topics import Topics
from engage.rules.policy import PolicySettings
from engage.rules.rule import MANAGER, FollowUpRequest, Rule, RuleSettings
from engage.services.configuration import Configured
from engage.settings import Settings
from streams.worker import make_app, run

OURS, STOCK, STOCK_EXACTLY_ONCE = "ours", "stock", "stock-exactly-once"
PARTITIONS = 4
SESSION_SECONDS = 6.0


class Counted(Struct):
    """How many orders an account has placed."""

    count: int = 0


counting = Rule("counting", version=1, settings=RuleSettings(), state=Counted)


@counting.on(OrderCompleted)
def answer(state: Any, event: Any, settings: Any) -> Any:
    """Count the order, and ask for a follow-up on it: the policy's yes or no is its answer."""
    state.count += 1
    yield FollowUpRequest(
        what="thank", why="an order", about=event.data.order_id, purpose="service", channels=(MANAGER,)
    )


def answers_topic(topics: Topics) -> str:
    """Where stock Faust puts its answers."""
    return f"{topics.prefix}.answers"


def group(topics: Topics) -> str:
    """The app id of stock Faust, which names its table's changelog."""
    return f"{topics.prefix}-stock"


def stock(bootstrap: str, topics: Topics, home: str, *, exactly_once: bool) -> faust.App:
    """Faust as it comes: an agent with a table that sends a record for each event."""
    app = faust.App(
        group(topics),
        broker=f"aiokafka://{bootstrap}",
        datadir=home,
        store="memory://",
        topic_partitions=PARTITIONS,
        value_serializer="raw",
        web_enabled=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        # As short as ours: by default a killed worker's partitions would rest for a minute.
        broker_session_timeout=SESSION_SECONDS,
        broker_heartbeat_interval=SESSION_SECONDS / 5,
        processing_guarantee="exactly_once" if exactly_once else "at_least_once",
    )
    source = app.topic(topics.inbox)
    answers = app.topic(answers_topic(topics), partitions=PARTITIONS)
    table = app.Table("counts", default=int, partitions=PARTITIONS)

    @app.agent(source)
    async def count(events: Any) -> None:
        async for value in events:
            event = orjson.loads(value)
            table[event["subject"]] += 1
            await answers.send(key=event["subject"], value=event["id"].encode())

    return app


def main() -> None:
    """Run one worker until it is killed."""
    name, bootstrap, prefix, home = sys.argv[1:]
    if name == OURS:
        settings = Settings(home=home, log=f"kafka://{bootstrap}", topics=prefix)
        chosen = Configured((counting,), PolicySettings(quiet_hours=None))
        run(make_app(settings, chosen, session_seconds=SESSION_SECONDS))
    else:
        app = stock(bootstrap, Topics(prefix), home, exactly_once=name == STOCK_EXACTLY_ONCE)
        faust.Worker(app, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
