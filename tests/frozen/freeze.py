"""Write the frozen log anew: ``python -m tests.frozen.freeze``. Only when a rule, or its settings, was meant to change.

It is half a per cent of the demo, with everything that the rules decided and the simulated managers did.
"""

import asyncio
import gzip
import json
import sys
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

from engage import bootstrap
from engage.demo.load import LoadClock, Plan, load
from engage.services.platform import utc_now

FILE = Path(__file__).with_name("log.ndjson.gz")
PLAN = Plan(today=date(2026, 11, 1), now=datetime(2026, 11, 1, 18, tzinfo=UTC), scale=0.005)


async def freeze() -> int:
    """Load the demo of ``PLAN`` in a folder of its own and write its log, a line a record; how many there are."""
    with tempfile.TemporaryDirectory() as home:
        clock = LoadClock(utc_now)
        async with bootstrap.platform(bootstrap.settings({"ENGAGE_HOME": home}), clock=clock) as platform:
            await load(platform, clock, PLAN)
            assert platform.embedded
            log = platform.embedded.log
            lines = [
                json.dumps({"partition": record.partition, "offset": record.offset, "event": json.loads(record.value)})
                for partition in range(log.partitions)
                for record in log.scan(partition)
            ]
    with FILE.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
        packed.write("\n".join(lines).encode() + b"\n")
    return len(lines)


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(freeze())} records in {FILE.name}\n")
