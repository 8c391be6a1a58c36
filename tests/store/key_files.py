"""Master key files with keys that a test chooses."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

from engage.store.keys import MasterKeyFile, load_master_key


def master_file(path: Path, secrets: Mapping[int, bytes]) -> MasterKeyFile:
    """A file that holds these secrets, by generation."""
    path.write_text(
        "".join(f"engage-master-key:{one}:{base64.b64encode(secret).decode()}\n" for one, secret in secrets.items())
    )
    path.chmod(0o600)
    return load_master_key(path)
