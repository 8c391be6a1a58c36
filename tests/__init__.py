"""engage's tests: one folder a package, and real servers (servers.py) for everything that talks."""
