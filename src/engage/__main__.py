"""``python -m engage`` is the command ``engage``."""

from engage.cli.main import main

main()
