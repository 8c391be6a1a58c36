"""What every test may ask for: real servers once a session, a fresh home, and how long to try.

A test that needs a server which this machine cannot run is skipped with the reason; under CI=true that is a failure.
"""

import os
import signal
import socket
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from engage import compiled
from engage.services import tracing
from tests.servers import KafkaBroker, ServerUnavailableError, fresh_database, kafka_broker, postgres_server

SERVERS = {"broker": "kafka", "postgres": "postgres"}  # the fixture that starts one, and the marker of its tests
SOAK = "ENGAGE_SOAK" in os.environ

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the suite with `&` has it ignore Ctrl-C, and what the tests start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest.register_assert_rewrite(
    "engage.testing.log_contract",
    "engage.testing.store_contract",
    "engage.testing.store_changes",
    "engage.testing.store_asking",
)
settings.register_profile("quick", max_examples=50, deadline=None)
settings.register_profile("soak", max_examples=2_000, deadline=None)
settings.load_profile("soak" if SOAK else "quick")


def pytest_report_header() -> str:
    return f"engine: {compiled.told()}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture, marker in SERVERS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    real = any(item.get_closest_marker(marker) for marker in SERVERS.values())
    if report.skipped and real and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"Under CI=true no test of a real server may be skipped. {reason}"
    return report


@pytest.fixture(autouse=True)
def _logging_begins_anew() -> None:
    """A command that ran in this process set by itself what is logged, and where to."""
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind, the one after the other."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture(scope="session")
def rounds() -> int:
    """How often a fault test strikes: few in `make test`, many in `make soak`."""
    return 40 if SOAK else 3


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """The spans of traces that this test's own process makes; without it nobody traces."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.trace_with(provider.get_tracer("test"))
    yield exporter
    tracing.trace_with(None)
    provider.shutdown()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh, empty ENGAGE_HOME that this test's processes share."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("ENGAGE_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """The session's broker itself, for fault tests: `kill` it as a crash does, then `start` it again for the others."""
    try:
        with kafka_broker(tmp_path_factory.mktemp("kafka")) as running:
            yield running
    except ServerUnavailableError as error:
        pytest.skip(f"NOT TESTED AGAINST KAFKA: {error}")


@pytest.fixture(scope="session")
def kafka(broker: KafkaBroker) -> str:
    """`127.0.0.1:port` of a real Apache Kafka broker; it makes no topic unasked, each test names its own."""
    return broker.address


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """SQLAlchemy URL of the session's real PostgreSQL server; most tests want `postgres_url`."""
    try:
        # Not below pytest's own folder: that one is closed to other users, and PostgreSQL refuses to run as root.
        with tempfile.TemporaryDirectory(prefix="pg") as folder, postgres_server(Path(folder)) as url:
            yield url
    except ServerUnavailableError as error:
        pytest.skip(f"NOT TESTED AGAINST POSTGRESQL: {error}")


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """SQLAlchemy URL of an empty database on a real PostgreSQL server, made for this test and dropped after it."""
    with fresh_database(postgres) as url:
        yield url


@pytest.fixture
def free_port() -> int:
    """A port on loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
