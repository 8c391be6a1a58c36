"""Where everything is wired together: settings in, adapters chosen, services out; alone in reading the environment.

What only some commands need is imported where it is wired: a command's start is mostly imports.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import make_url

from engage.log.sqlite import SqliteLog
from engage.relationships.application import Relationships
from engage.services import tracing
from engage.services.configuration import Configured, configured
from engage.services.own_segments import with_segments
from engage.settings import Settings, SettingsError, load
from engage.store.database import CACHE_MIB, Database
from engage.store.views import ViewMissingError, ViewStore
from engage.views.projection import ReadModel
from engage.wall_clock import utc_now
from projections import PROJECTIONS
from streams import RULES

if TYPE_CHECKING:
    from engage.log.contract import Appender, Log, Publisher
    from engage.log.topics import Topics
    from engage.services.audit import Trail
    from engage.services.embedded import EmbeddedLog
    from engage.services.folding_forks import FoldingForks
    from engage.services.hooks.mapping import Hook
    from engage.services.letters.finding import DeadLetters
    from engage.services.letters.source import Source
    from engage.services.letters.unread import Keep
    from engage.services.links import Links
    from engage.services.moving.house import House
    from engage.services.moving.restoring import Site
    from engage.services.moving.targets import Appending
    from engage.services.oidc import Oidc
    from engage.services.past import Past
    from engage.services.platform import Platform
    from engage.services.projector import Projector
    from engage.services.snapshots import Snapshots
    from engage.services.webhooks.managing import Webhooks
    from engage.store.access import AccessStore
    from engage.store.keys import KeyStore
    from engage.store.webhook_standing import WebhookStanding
    from engage.store.webhooks import WebhookStore


def settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process."""
    return load(os.environ if environment is None else environment)


@contextmanager
def traces(name: str, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """Send traces of the process ``name`` by OTLP for as long as the block lasts, where OpenTelemetry's variables ask.

    SettingsError for what cannot be used of them; without ``OTEL_EXPORTER_OTLP_ENDPOINT`` nothing is imported.
    """
    given = os.environ if environment is None else environment
    asked = any(given.get(f"OTEL_EXPORTER_OTLP_{one}ENDPOINT") for one in ("", "TRACES_"))
    if not asked or given.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield
        return
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if given.get(variable, "http/protobuf") != "http/protobuf":
            raise SettingsError(f"{variable} is {given[variable]!r}: engage sends traces over http/protobuf alone")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and what sends traces there is not installed: install "
            "engage-platform[otel], or unset it"
        ) from error
    # The exporter reads the other variables itself: they are OpenTelemetry's, not ours.
    provider = TracerProvider(
        resource=Resource.create({"service.name": given.get("OTEL_SERVICE_NAME", f"engage-{name}")}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracing.trace_with(provider.get_tracer("engage"))
    try:
        yield
    finally:
        tracing.trace_with(None)
        provider.shutdown()


def rules(settings: Settings) -> Configured:
    """Every rule, and the policy, with the settings of this house."""
    path = Path(settings.rules) if settings.rules else settings.home_path / "rules.toml"
    return configured(RULES, path, must_exist=bool(settings.rules))


def read_models(settings: Settings) -> tuple[ReadModel[Any], ...]:
    """Every read model, those of segments as this house declares them."""
    path = Path(settings.segments) if settings.segments else settings.home_path / "segments.toml"
    return with_segments(PROJECTIONS, path, must_exist=bool(settings.segments))


def topics(settings: Settings) -> Topics:
    """The topics of the log on Kafka, those included that the read models' changes are fed to."""
    from engage.log.topics import Topics

    fed = tuple(model.name for model in read_models(settings) if not model.append_only)
    return Topics(settings.topics, fed)


def hooks(settings: Settings, environment: Mapping[str, str] | None = None) -> dict[str, Hook]:
    """The inbound webhooks of this house by name, their secrets looked up; MappingError for a file that cannot work."""
    from engage.services.hooks.mapping import load_hooks

    path = Path(settings.hooks) if settings.hooks else settings.home_path / "hooks.toml"
    if not settings.hooks and not path.exists():
        return {}
    return load_hooks(path, (os.environ if environment is None else environment).get)


def links(settings: Settings, clock: Callable[[], datetime] = utc_now) -> Links:
    """What makes and reads the links in mails, with a key derived from the master key in ``home``."""
    from engage.services.links import Links
    from engage.services.sealing_keys import LINKS
    from engage.store.keys import load_master_key

    settings.home_path.mkdir(parents=True, exist_ok=True)
    masters = load_master_key(settings.home_path / "master.key")
    return Links(
        partial(masters.derived, LINKS), settings.public_url or f"http://{settings.host}:{settings.port}", clock
    )


def webhook_standings(settings: Settings) -> list[WebhookStanding]:
    """Whether what endpoints are told arrives; none where no webhook was ever made."""
    from engage.store.webhook_standing import read_standings

    return read_standings(_database(settings, "webhooks")) if _is_there(settings, "webhooks") else []


def log_path(settings: Settings) -> Path:
    """The file of the embedded log."""
    return settings.home_path / "log.db"


def key_store(settings: Settings) -> KeyStore:
    """The accounts' keys, wrapped by the master key in ``home``."""
    from engage.store.keys import KeyStore, MasterKeyError, load_master_key

    home = settings.home_path
    home.mkdir(parents=True, exist_ok=True)
    if (home / "keys.db").exists() and not (home / "master.key").exists():
        raise MasterKeyError(
            f"{home / 'master.key'} is missing, and keys.db beside it was wrapped by it: put the file back from the "
            "backup; without it nothing personal in the log can be read"
        )
    return KeyStore(_database(settings, "keys"), load_master_key(home / "master.key"))


def webhook_store(settings: Settings) -> WebhookStore:
    """Who is told what by webhook, the secrets sealed with a key derived from the master key in ``home``."""
    from engage.store.keys import load_master_key
    from engage.store.webhooks import WebhookStore

    masters = load_master_key(settings.home_path / "master.key")
    return WebhookStore(_database(settings, "webhooks"), partial(masters.derived, "webhooks"))


def has_webhooks(settings: Settings) -> bool:
    """Whether there may be endpoints that are told something."""
    return _is_there(settings, "webhooks")


def view_store(settings: Settings, *, cache_mib: int = CACHE_MIB) -> ViewStore:
    """The read models; see ``Database`` for ``cache_mib``."""
    settings.home_path.mkdir(parents=True, exist_ok=True)
    return ViewStore(_database(settings, "views"), cache_mib=cache_mib)


def snapshots(settings: Settings) -> Snapshots:
    """Read models of the past, kept in ``home``."""
    from engage.services.snapshots import Snapshots

    folder = settings.home_path / "snapshots"
    return Snapshots(folder, settings.snapshot_mb * 2**20, partial(_erased, settings))


def past(settings: Settings, log: Log, store: ViewStore, clock: Callable[[], datetime]) -> Past:
    """The read models as they stood, from the past of ``log``; close it."""
    from engage.services.past import Past

    apart = partial(reading_log, settings), partial(read_models, settings)
    return Past(log, store, clock, snapshots(settings), *apart)


def access_store(settings: Settings) -> AccessStore:
    """API keys, and the trail of what operators did."""
    from engage.store.access import AccessStore

    settings.home_path.mkdir(parents=True, exist_ok=True)
    return AccessStore(_database(settings, "access"))


def has_access(settings: Settings) -> bool:
    """Whether there may be API keys, or a trail of what operators did."""
    return _is_there(settings, "access")


def knows_callers(settings: Settings) -> bool:
    """Whether there is a credential that opens the door."""
    if settings.oidc_issuer:
        return True
    if not has_access(settings):
        return False
    store = access_store(settings)
    try:
        return any(key.holds(utc_now()) for key, _ in store.every_key())
    finally:
        store.close()


@contextmanager
def trail(settings: Settings) -> Iterator[Trail]:
    """Where it is kept who did what, for a command that needs no platform."""
    from engage.services.audit import Trail

    store = access_store(settings)
    try:
        yield Trail(store, utc_now)
    finally:
        store.close()


@contextmanager
def reading_views(settings: Settings) -> Iterator[ViewStore]:
    """The read models for who only reads them, also where this process may not write; ViewMissingError without any."""
    if not _is_there(settings, "views"):
        remedy = "start engage (`engage up`), it folds it from the log"
        if settings.kafka:
            remedy = "set ENGAGE_VIEWS to the database of `engage worker projections`, or start that"
        raise ViewMissingError(f"views.db is missing from {settings.home_path}: {remedy}")
    store = ViewStore(_database(settings, "views"), read_only=True)
    try:
        yield store
    finally:
        store.close()


@asynccontextmanager
async def reading_log(settings: Settings) -> AsyncIterator[Log]:
    """The log for who only reads it; the embedded one must exist (``log_path``)."""
    if settings.kafka:
        from engage.log.kafka import KafkaLog
        from engage.log.topics import Topics

        async with KafkaLog(settings.kafka, Topics(settings.topics)) as log:
            yield log
    else:
        file = SqliteLog(log_path(settings), read_only=True)
        try:
            yield file
        finally:
            file.close()


@asynccontextmanager
async def projecting(settings: Settings, models: Sequence[ReadModel[Any]] | None = None) -> AsyncIterator[Projector]:
    """Another projector for a process beside the platform's, with a log, a store and traces of its own.

    ``models`` None: this house's.
    """
    from engage.services.projector import Projector

    store = view_store(settings)
    try:
        with traces("projections"):
            async with reading_log(settings) as log:
                yield Projector(log, store, read_models(settings) if models is None else models)
    finally:
        store.close()


def folding_forks(settings: Settings, count: int, begun: Callable[[], object]) -> FoldingForks:
    """Processes that fold the read models with this one while it is far behind; enter it before anything is open.

    ``begun`` as ``FoldingForks`` has it.
    """
    if settings.kafka:
        import engage.log.kafka  # noqa: F401  # once for all of them
    from engage.services.folding_forks import FoldingForks
    from engage.store.tables import view_table

    for model in read_models(settings):
        view_table(model, sqlite=_database(settings, "views").startswith("sqlite"))
    return FoldingForks(partial(projecting, settings), count, begun)


@asynccontextmanager
async def readers(settings: Settings) -> AsyncIterator[tuple[Log, ViewStore | None, Relationships | None]]:
    """What may be read beside the process that owns the folder; the embedded log must exist (``log_path``).

    A store whose file is not there yet is None: to open it would make it.
    """
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(reading_log(settings))
        store, relationships = None, None
        if _is_there(settings, "views"):
            store = stack.enter_context(reading_views(settings))
        if _is_there(settings, "relationships"):
            relationships = Relationships(_database(settings, "relationships"), read_only=True)
            stack.callback(relationships.close)
        yield log, store, relationships


@asynccontextmanager
async def dead_letters(settings: Settings) -> AsyncIterator[DeadLetters]:
    """What consumers could not take, to be looked at beside the processes that run; the embedded log must exist."""
    async with readers(settings) as (log, store, _):
        yield letters_of(settings, log, store, read_models(settings))


def letters_of(settings: Settings, log: Log, store: ViewStore | None, models: Sequence[ReadModel[Any]]) -> DeadLetters:
    """What the consumers of ``log`` could not take."""
    from engage.services.letters.finding import DeadLetters

    return DeadLetters(log, store, models, _letter_source(settings, log))


def _letter_source(settings: Settings, log: Log) -> Source:
    if isinstance(log, SqliteLog):
        from engage.services.letters.source import Embedded

        return Embedded(log)
    from engage.log.kafka import KafkaLog
    from engage.log.topics import Topics
    from engage.services.letters.kafka import Kafka

    assert settings.kafka and isinstance(log, KafkaLog), "there are two kinds of logs"
    return Kafka(settings.kafka, Topics(settings.topics), log)


@asynccontextmanager
async def house(settings: Settings) -> AsyncIterator[House]:
    """Everything of this engage, to be read beside the processes that run; the embedded log must exist."""
    from engage.services.moving.house import ACCESS, KEYS, WEBHOOKS, House

    async with AsyncExitStack() as stack:
        log, views, relationships = await stack.enter_async_context(readers(settings))
        models = read_models(settings)
        stores = {}
        for kept in (KEYS, ACCESS, WEBHOOKS):
            if _is_there(settings, kept.name):
                database = Database(_database(settings, kept.name), synchronous="full", read_only=True)
                stack.callback(database.close)
                kept.require(database)
                stores[kept.name] = database
        yield House(
            engage=version("engage-platform"),
            log=log,
            letters=letters_of(settings, log, views, models),
            log_backend="kafka" if settings.kafka else "sqlite",
            store_backend="postgresql" if settings.views else "sqlite",
            stores=stores,
            views=views,
            relationships=relationships,
            models=models,
            settings=setting_files(settings),
            master_key=settings.home_path / "master.key",
        )


@asynccontextmanager
async def site(settings: Settings, folder: Path, partitions: int | None = None) -> AsyncIterator[Site]:
    """The house that the export in ``folder`` is to be restored into, owned; what is missing is made.

    ``partitions`` of the embedded log, None for as many as the export has; on Kafka the topics say. MasterKeyError
    without the master key of the export's keys, AtWorkError and FolderOwnedError while somebody works there.
    """
    from engage.services.erasure import Erasures
    from engage.services.moving.manifest import read_manifest
    from engage.services.moving.restoring import Site, bring_master_key
    from engage.services.moving.targets import SqliteAppending, emptied
    from engage.services.moving.unfinished import is_unfinished
    from engage.services.owner import Owner

    home, manifest = settings.home_path, read_manifest(folder)
    async with AsyncExitStack() as stack:
        stack.enter_context(Owner(home))
        bring_master_key(folder, manifest, home / "master.key")
        log: Log
        appending: Appending
        if settings.kafka:
            from engage.log.kafka import KafkaLog
            from engage.services.moving.kafka_target import KafkaAppending, must_be_quiet, must_have_no_inbox

            names = topics(settings)
            if partitions is not None:
                raise SettingsError(
                    "--partitions is for the embedded log: on Kafka `engage topics create` lays them out"
                )
            log = on_kafka = await stack.enter_async_context(KafkaLog(settings.kafka, names))
            await must_be_quiet(settings.kafka, names)
            if not is_unfinished(home):  # what is published meanwhile comes behind the restored records
                await must_have_no_inbox(settings.kafka, names, log.partitions)
            appending = await stack.enter_async_context(KafkaAppending(settings.kafka, names, on_kafka))
        else:
            file = emptied(log_path(settings), partitions or manifest.partitions)
            stack.callback(file.close)
            log, appending = file, SqliteAppending(file)
        keys, access, told, views = (
            key_store(settings),
            access_store(settings),
            webhook_store(settings),
            view_store(settings),
        )
        for store in (keys, access, told, views):
            stack.callback(store.close)
        relationships = Relationships(_database(settings, "relationships"))
        stack.callback(relationships.close)
        yield Site(
            home=home,
            log=log,
            appending=appending,
            keys=keys,
            erasures=Erasures(log, keys, snapshots(settings), _letter_source(settings, log).keep),
            access=access,
            webhooks=told,
            relationships=relationships,
            views=views,
            models=read_models(settings),
            settings=setting_files(settings),
        )


def setting_files(settings: Settings) -> dict[str, Path]:
    """The files in which this house says what rules, segments and inbound webhooks mean; they need not be there."""
    chosen = {"rules.toml": settings.rules, "segments.toml": settings.segments, "hooks.toml": settings.hooks}
    return {name: Path(path) if path else settings.home_path / name for name, path in chosen.items()}


@asynccontextmanager
async def platform(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = utc_now,
    models: Sequence[ReadModel[Any]] | None = None,
    folding: Sequence[str] = (),
) -> AsyncIterator[Platform]:
    """The platform, its folder owned; FolderOwnedError if another process owns it. ``models`` None: this house's.

    ``folding`` is the command that folds the read models of the folder in a process of its own while the platform runs;
    none: it folds them itself. On Kafka ``engage worker projections`` does.
    """
    from engage.services.access import Access
    from engage.services.desk import Desk
    from engage.services.edge import Edge
    from engage.services.embedded import EmbeddedLog
    from engage.services.folded_beside import FoldedBeside
    from engage.services.moving.unfinished import must_not_be_restoring
    from engage.services.owner import Owner
    from engage.services.platform import Platform
    from engage.services.projector import Projector
    from engage.services.relay import Relay, restore_from

    must_not_be_restoring(settings.home_path)
    async with AsyncExitStack() as stack:
        owner = stack.enter_context(Owner(settings.home_path)) if not settings.kafka else None
        keys = key_store(settings)
        stack.callback(keys.close)
        store = view_store(settings)
        stack.callback(store.close)
        relationships = Relationships(_database(settings, "relationships"))
        stack.callback(relationships.close)
        access = access_store(settings)
        stack.callback(access.close)
        edge = Edge(keys, clock, timedelta(days=settings.window_days) if settings.kafka else None)
        chosen = rules(settings)
        embedded: EmbeddedLog | None = None
        log: Log
        publisher: Appender
        ticks: Publisher | None = None
        if settings.kafka:
            from engage.log.kafka import KafkaLog
            from engage.log.kafka_publisher import KafkaPublisher
            from engage.log.topics import Topics

            topics = Topics(settings.topics)
            log = await stack.enter_async_context(KafkaLog(settings.kafka, topics))
            publisher = await stack.enter_async_context(KafkaPublisher(settings.kafka, topics, edge=edge))
            ticks = await stack.enter_async_context(KafkaPublisher(settings.kafka, topics))
        else:
            file = SqliteLog(log_path(settings))
            stack.callback(file.close)
            embedded = EmbeddedLog(file, edge, chosen.rules, chosen.policy, clock)
            stack.push_async_callback(embedded.close)
            await embedded.start()
            if not folding:  # who serves takes what is published before it, too
                await embedded.activate()
            log, publisher = file, embedded
        await restore_from(log, relationships)
        house = read_models(settings) if models is None else models
        beside = FoldedBeside(folding) if embedded is not None and folding else None
        if embedded is not None and beside is not None:
            embedded.log.listen(beside.grown)
        letters = letters_of(settings, log, store, house)
        told = webhooks(settings, log, publisher, store, house, relationships, keys, clock, letters.source.keep)
        stack.callback(told.store.close)
        if owner is not None:  # nobody else can be sending
            told.store.queue.release(clock())
        stack.push_async_callback(told.close)
        then = past(settings, log, store, clock)
        stack.push_async_callback(then.close)
        yield Platform(
            log=log,
            edge=edge,
            publisher=publisher,
            embedded=embedded,
            store=store,
            projector=await Projector.opened(log, store, house),
            desk=Desk(relationships, log, keys, clock=clock, keep=letters.source.keep),
            relay=Relay(relationships, publisher),
            relationships=relationships,
            keyring=keys,
            access=Access(access, clock, oidc=_oidc(settings), rate=settings.rate),
            webhooks=told,
            past=then,
            letters=letters,
            rules=chosen,
            owner=owner,
            beside=beside,
            clock=clock,
            ticks=ticks,
        )


def _oidc(settings: Settings) -> Oidc | None:
    if not settings.oidc_issuer:
        return None
    from engage.services.oidc import Oidc, OidcSettings

    return Oidc(
        OidcSettings(
            issuer=settings.oidc_issuer,
            audience=settings.oidc_audience,
            claim=settings.oidc_claim,
            scopes=settings.oidc,
            name=settings.oidc_name,
        )
    )


def webhooks(
    settings: Settings,
    log: Log,
    publisher: Publisher,
    views: ViewStore,
    models: Sequence[ReadModel[Any]],
    relationships: Relationships,
    keys: KeyStore,
    clock: Callable[[], datetime],
    keep: Keep,
) -> Webhooks:
    """Outgoing webhooks, whose store is opened; close both."""
    from engage.services.webhooks.delivering import Delivering
    from engage.services.webhooks.feeding import Feeding
    from engage.services.webhooks.managing import Webhooks
    from engage.services.webhooks.outcomes import Outcomes
    from engage.services.webhooks.permission import Permission
    from engage.services.webhooks.sending import Sender

    store = webhook_store(settings)
    permission = Permission(relationships, views, clock)
    return Webhooks(
        store,
        Feeding(store, log, views, models, relationships, clock, keep),
        Delivering(store, Sender(private=settings.webhooks_private), permission, keys, clock),
        Outcomes(store, publisher),
        models=models,
        rules=frozenset(rule.name for rule in RULES),
        private=settings.webhooks_private,
        clock=clock,
    )


def _erased(settings: Settings) -> int:
    """How many accounts' keys are gone."""
    from engage.store.keys import count_forgotten

    return count_forgotten(_database(settings, "keys")) if _is_there(settings, "keys") else 0


def _is_there(settings: Settings, name: str) -> bool:
    """Whether the file of a database exists; one on a server is taken to."""
    url = make_url(_database(settings, name))
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


def _database(settings: Settings, name: str) -> str:
    return settings.views or f"sqlite:///{settings.home_path.absolute() / name}.db"
