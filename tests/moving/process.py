"""A restore in small steps, in a process that is to be killed: ``python -m tests.moving.process SETTINGS EXPORT``."""

import asyncio
import sys
from pathlib import Path

import msgspec

from engage.services.moving import targets
from engage.settings import Settings
from tests.moving.given import restored

if __name__ == "__main__":
    targets.AT_ONCE = 200
    asyncio.run(restored(msgspec.json.decode(sys.argv[1], type=Settings), Path(sys.argv[2]), verify=False))
