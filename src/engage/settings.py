"""Every setting of engage, from ``ENGAGE_*`` environment variables; read once, in ``bootstrap``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, get_type_hints

import msgspec
from msgspec import Meta, Struct

from engage.events.plain_words import plain

PREFIX = "ENGAGE_"
KAFKA = "kafka://"
_OTHERS = frozenset({"ENGAGE_ACTOR", "ENGAGE_SOAK", "ENGAGE_LOCAL"})
"""Read elsewhere: who works on follow-ups (the flag ``--actor``), how long tests run, where the local broker lives."""


_DATABASE = re.compile(r"(postgresql|postgres|postgresql\+psycopg)://([^/]*@)?[^/@:?]*(:\d{1,5})?(/[^/]*)?$")


class SettingsError(ValueError):
    """A setting that cannot be used: which one, what it holds, what it may hold."""


class Settings(Struct, frozen=True, kw_only=True):
    """The settings; each field is the environment variable ``ENGAGE_`` + its name in capitals."""

    home: str = "engage-data"
    """The folder of everything engage keeps on this machine."""
    log: str = ""
    """Where the log is: empty for a file in ``home``, or ``kafka://host:port[,host:port]``."""
    views: str = ""
    """Where read models, keys and relationships are: empty for files in ``home``, or ``postgresql+psycopg://…``."""
    host: str = "127.0.0.1"
    """The address HTTP listens on; loopback alone, until there is an API key or ``behind_proxy`` is set."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    """The port HTTP listens on; another one if it is taken and none was asked for."""
    behind_proxy: bool = False
    """Somebody else guards the door (a container network, a proxy that checks who comes): any ``host`` will do."""
    topics: str = "engage"
    """What the names of the Kafka topics begin with."""
    partitions: Annotated[int, Meta(ge=1, le=1024)] = 12
    """How many partitions the Kafka topics are made with; fixed for a log's life."""
    replication: Annotated[int, Meta(ge=1, le=7)] = 1
    """How many brokers hold each Kafka record."""
    rules: str = ""
    """A TOML file with settings of rules and policy, a table each; empty for ``rules.toml`` in ``home``, if there."""
    segments: str = ""
    """A TOML file that declares the segments; empty for ``segments.toml`` in ``home``, if there, or those shipped."""
    window_days: Annotated[int, Meta(ge=1)] = 30
    """For how many days intake on Kafka remembers which events it has taken."""
    log_level: Literal["debug", "access", "info", "warning", "error"] = "info"
    """What the process says on standard error; ``access`` is ``info`` and a line for each HTTP request."""
    metrics_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """The port of the loopback on which a worker answers ``/metrics`` for Prometheus; 0: none."""

    @property
    def home_path(self) -> Path:
        """``home`` as an absolute path."""
        return Path(self.home).expanduser().absolute()

    @property
    def kafka(self) -> str | None:
        """The brokers' addresses, None when the log is embedded."""
        return self.log.removeprefix(KAFKA) if self.log.startswith(KAFKA) else None


def load(environment: Mapping[str, str]) -> Settings:
    """The settings in ``environment``; SettingsError names the variable that is wrong, or that nobody knows."""
    known = {PREFIX + name.upper(): name for name in Settings.__struct_fields__}
    for name in environment:
        if name.startswith(PREFIX) and name not in known and name not in _OTHERS:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            raise SettingsError(f"{name} is no setting of engage: {hint}; otherwise unset it")
    given = {known[name]: value for name, value in environment.items() if name in known and value != ""}
    hints = get_type_hints(Settings, include_extras=True)
    for name, value in given.items():
        try:
            msgspec.convert(value, hints[name], strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{PREFIX}{name.upper()} is {value!r}: it {plain(error)[1]}") from error
    settings = msgspec.convert(given, Settings, strict=False)
    if settings.log and not settings.kafka:
        raise SettingsError(f"ENGAGE_LOG is {settings.log!r}: leave it empty, or say kafka://host:port")
    if settings.views and not _DATABASE.match(settings.views):
        raise SettingsError(
            f"ENGAGE_VIEWS is {_without_password(settings.views)!r}: leave it empty, or say "
            "postgresql+psycopg://user:word@host/name"
        )
    return settings


def _without_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)
