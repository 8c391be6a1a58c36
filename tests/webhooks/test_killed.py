"""Whoever is killed between counting an attempt and noting its answer loses nothing: it is sent again, same id."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engage import bootstrap
from engage.settings import Settings
from tests.http.given import Clock
from tests.webhooks.conftest import MODELS
from tests.webhooks.given import Receiver, endpoint, happens, ids, refund, send

pytestmark = pytest.mark.fault

DIES = """
import asyncio, os, signal, sys
from engage import bootstrap
from engage.services.webhooks.sending import Sender
from engage.settings import Settings
from tests.webhooks.conftest import MODELS
from tests.http.given import Clock
from tests.webhooks.given import send

post, sends = Sender.post, sys.argv[2] == "after"

async def dying(self, *what):
    if sends:
        await post(self, *what)
    os.kill(os.getpid(), signal.SIGKILL)

Sender.post = dying

async def main():
    async with bootstrap.platform(Settings(home=sys.argv[1]), clock=Clock(), models=MODELS) as platform:
        await send(platform)

asyncio.run(main())
"""


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_message_is_sent_at_least_once_whenever_its_sender_dies(
    tmp_path: Path, receiver: Receiver, clock: Clock, moment: str
):
    settings = Settings(home=str(tmp_path))
    async with bootstrap.platform(settings, clock=clock, models=MODELS) as platform:
        made = await endpoint(platform, receiver.url)
        await happens(platform, refund())
        await platform.webhooks.close()
    command = (sys.executable, "-c", DIES, str(tmp_path), moment)
    killed = await asyncio.to_thread(subprocess.run, command, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    before = ids(receiver.messages)
    assert len(before) == (moment == "after")
    async with bootstrap.platform(settings, clock=clock, models=MODELS) as platform:
        [waiting] = platform.webhooks.deliveries(made.id, 10)
        assert (waiting.attempts, waiting.state) == (1, "waiting")
        await send(platform)
        [done] = platform.webhooks.deliveries(made.id, 10)
        assert (done.attempts, done.state) == (2, "delivered")
    assert set(ids(receiver.messages)) == {done.message}
    assert len(receiver.messages) == len(before) + 1
