"""A process that rotates the master key and dies at a step, by kill -9: ``python … URL FOLDER STEP``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from engage.services import sealing_keys
from engage.store import rewrapping
from engage.store.keys import KeyStore, MasterKeyFile, load_master_key


def main() -> None:
    url, folder, step = sys.argv[1:]

    def die(*_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    def die_in_the_middle(done: int, of: int) -> None:
        if 0 < done < of:
            die()

    keys = KeyStore(url, load_master_key(Path(folder) / "master.key"))
    if step == "new key in the file":
        rewrapping.begin = die
    elif step == "all wrapped":
        rewrapping.finish = die
    elif step == "old key gone from the store":
        MasterKeyFile.let_go = die  # type: ignore[method-assign]
    sealing_keys.rotate(keys, told=die_in_the_middle if step == "some wrapped" else None)


if __name__ == "__main__":
    main()
