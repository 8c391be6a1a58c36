"""A streams worker as a process of its own with the probes' rules, for tests that kill it.

python -m tests.streams_worker.process HOME BOOTSTRAP PREFIX METRICS_PORT
"""

import sys

from engage.rules.policy import PolicySettings
from engage.services.configuration import Configured
from engage.settings import Settings
from streams.worker import make_app, run
from tests.streams_worker.probes import RULES

SESSION_SECONDS = 6.0


def main() -> None:
    home, kafka, prefix, metrics_port = sys.argv[1:]
    settings = Settings(home=home, log=f"kafka://{kafka}", topics=prefix, metrics_port=int(metrics_port))
    run(make_app(settings, Configured(RULES, PolicySettings(quiet_hours=None)), session_seconds=SESSION_SECONDS))


if __name__ == "__main__":
    main()
