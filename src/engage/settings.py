"""Every setting of engage, from ``ENGAGE_*`` environment variables; read once, in ``bootstrap``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from engage.events.plain_words import plain
from engage.scopes import SCOPES, Scope

PREFIX = "ENGAGE_"
KAFKA = "kafka://"
_OTHERS = frozenset({"ENGAGE_ACTOR", "ENGAGE_SOAK", "ENGAGE_LOCAL", "ENGAGE_PURE"})
"""Read elsewhere: who works on follow-ups (the flag ``--actor``), how long tests run, where the local broker lives, and
that the engine runs as plain Python, which is asked before anything is imported (``engage.compiled``)."""


_OF_AN_OPTION = "__"
"""Stands in the names of the command line's variables (``engage.cli.tree``), and in no setting's."""
_ORIGIN = re.compile(r"https?://[^/?#@\s*]+")
_DATABASE = re.compile(
    r"(postgresql|postgres|postgresql\+psycopg)://([^/]*@)?(\[[^/@\]]+\]|[^/@:?]*)(:\d{1,5})?(/[^/?]*)?(\?.*)?$"
)


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
    snapshot_mb: Annotated[int, Meta(ge=1)] = 1024
    """How many MiB of disk the read models of the past may take that are kept in ``home`` (``engage snapshots``)."""
    window_days: Annotated[int, Meta(ge=1)] = 30
    """For how many days intake on Kafka remembers which events it has taken."""
    log_level: Literal["debug", "access", "info", "warning", "error"] = "info"
    """What the process says on standard error; ``access`` is ``info`` and a line for each HTTP request."""
    rate: Annotated[float, Meta(ge=0)] = 0
    """How many requests a second a key may make that has no rate of its own; 0: any number."""
    cors_origins: str = ""
    """Origins whose pages may ask from a browser, parted by commas (``https://crm.example``); empty: none."""
    oidc_issuer: str = ""
    """The OpenID provider whose tokens are taken beside API keys, as its tokens name it (``iss``); empty: none."""
    oidc_audience: str = ""
    """Whom its tokens must be for (``aud``); needed with ``oidc_issuer``."""
    oidc_claim: str = "scope"
    """The claim that says what a bearer may do: words in a text or a list; ``realm_access.roles`` is one within one."""
    oidc_scopes: str = " ".join(f"engage:{scope}={scope}" for scope in SCOPES)
    """What its words mean here, parted by blanks: ``crm-managers=read,work crm-admins=read,work,operate``."""
    oidc_name: str = "sub"
    """The claim that names the bearer; no e-mail address, for commands bear it on the log."""
    segment_links: bool = True
    """Segment's ``identify`` with both ids, and ``alias``, link the anonymous visitor to the account."""
    hooks: str = ""
    """A TOML file that says what inbound webhooks mean; empty for ``hooks.toml`` in ``home``, if there, or none."""
    public_url: str = ""
    """How people outside reach this service, for links in mails: ``https://engage.example``; empty: as it listens."""
    webhooks_private: bool = False
    """Webhooks may go into this house's own network, over plain http too; else only to public addresses by https."""
    drain_seconds: Annotated[float, Meta(ge=0, le=300)] = 0.0
    """How long ``/readyz`` says no on SIGTERM before HTTP listens no more: time for who balances load to hear of it."""
    metrics_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """The port of the loopback on which a worker answers ``/metrics`` for Prometheus; 0: none."""

    @property
    def origins(self) -> tuple[str, ...]:
        """``cors_origins`` one by one."""
        return tuple(origin.strip() for origin in self.cors_origins.split(",") if origin.strip())

    @property
    def home_path(self) -> Path:
        """``home`` as an absolute path."""
        return Path(self.home).expanduser().absolute()

    @property
    def oidc(self) -> dict[str, frozenset[Scope]]:
        """What the words of the OpenID provider's tokens mean; ValueError for what means nothing."""
        found: dict[str, frozenset[Scope]] = {}
        for pair in self.oidc_scopes.split():
            word, _, meant = pair.rpartition("=")
            scopes = frozenset(scope for scope in SCOPES if scope in meant.split(","))
            if not word or len(scopes) != len(meant.split(",")):
                raise ValueError(f"{pair!r} is none of word=scope,scope with the scopes {', '.join(SCOPES)}")
            found[word] = scopes
        return found

    @property
    def kafka(self) -> str | None:
        """The brokers' addresses, None when the log is embedded."""
        return self.log.removeprefix(KAFKA) if self.log.startswith(KAFKA) else None


def load(environment: Mapping[str, str]) -> Settings:
    """The settings in ``environment``; SettingsError names the variable that is wrong, or that nobody knows."""
    known = {PREFIX + name.upper(): name for name in Settings.__struct_fields__}
    for name in environment:
        if name.startswith(PREFIX) and name not in known and name not in _OTHERS and _OF_AN_OPTION not in name:
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
    _check_access(settings)
    if settings.public_url and not settings.public_url.startswith(("https://", "http://")):
        raise SettingsError(f"ENGAGE_PUBLIC_URL is {settings.public_url!r}: write https://host")
    return settings


def is_loopback_or_https(url: str) -> bool:
    """Whether nobody on the way can change what is read there."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1"))


def _check_access(settings: Settings) -> None:
    if settings.oidc_issuer and not is_loopback_or_https(settings.oidc_issuer):
        raise SettingsError(f"ENGAGE_OIDC_ISSUER is {settings.oidc_issuer!r}: give the provider's https:// address")
    if bool(settings.oidc_issuer) != bool(settings.oidc_audience):
        raise SettingsError("ENGAGE_OIDC_ISSUER and ENGAGE_OIDC_AUDIENCE go together: set both, or neither")
    try:
        settings.oidc  # noqa: B018 - it is read to see whether it can be
    except ValueError as error:
        raise SettingsError(f"ENGAGE_OIDC_SCOPES: {error}") from error
    for origin in settings.origins:
        if not _ORIGIN.fullmatch(origin):
            raise SettingsError(
                f"ENGAGE_CORS_ORIGINS: {origin!r} is no origin: write https://crm.example, with no path"
            )


def _without_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)
