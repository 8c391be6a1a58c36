"""The servers that other tests stand on are real, answer, and come back from a crash with what they had."""

import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from sqlalchemy import NullPool, create_engine, inspect, text

from tests.servers import PROJECT, KafkaBroker


@pytest.fixture
async def topic(kafka: str) -> AsyncIterator[str]:
    name = f"servers-{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
        yield name
        await admin.delete_topics([name])
    finally:
        await admin.close()


async def publish(kafka: str, topic: str, value: bytes) -> None:
    writer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{topic}-writer")
    async with writer, writer.transaction():
        await writer.send_and_wait(topic, value)


async def read_first(kafka: str, topic: str) -> bytes:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, isolation_level="read_committed")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek(TopicPartition(topic, 0), 0)
        record = await consumer.getone()
        return bytes(record.value)
    finally:
        await consumer.stop()


async def test_a_record_published_in_a_transaction_is_read_back(kafka: str, topic: str):
    await publish(kafka, topic, b"hello")
    assert await read_first(kafka, topic) == b"hello"


@pytest.mark.fault
async def test_a_record_survives_a_crash_of_the_broker(broker: KafkaBroker, topic: str):
    address = broker.address
    await publish(address, topic, b"still here")
    broker.kill()
    broker.start()
    assert broker.address == address
    assert await read_first(address, topic) == b"still here"


async def test_no_topic_is_made_by_asking_for_it(kafka: str):
    name = f"unasked-{uuid.uuid4().hex}"
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
    await consumer.start()
    try:
        assert not consumer.partitions_for_topic(name)
        assert name not in await consumer.topics()
    finally:
        await consumer.stop()


def test_postgres_is_a_real_server_of_version_16_or_newer(postgres_url: str):
    engine = create_engine(postgres_url, poolclass=NullPool)
    with engine.connect() as connection:
        assert connection.scalar(text("select 1")) == 1
        assert int(connection.scalar(text("show server_version_num")) or 0) >= 160_000


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_an_empty_database_of_its_own(postgres_url: str, turn: int):
    engine = create_engine(postgres_url, poolclass=NullPool)
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == []
        connection.execute(text("create table left_behind (turn int)"))


def test_a_home_is_empty_and_named_in_the_environment(home: Path):
    assert os.environ["ENGAGE_HOME"] == str(home)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(("ci", "outcome"), [("true", "1 error"), ("", "1 skipped")])
def test_a_skipped_test_of_a_real_server_is_a_failure_in_ci_alone(tmp_path: Path, ci: str, outcome: str):
    tests = tmp_path / "tests"
    tests.mkdir()
    for name in ("__init__.py", "conftest.py", "servers.py"):
        (tests / name).write_text((PROJECT / "tests" / name).read_text())
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/local-kafka").write_text("import sys\nsys.exit(69)\n")
    (tmp_path / "pyproject.toml").write_text((PROJECT / "pyproject.toml").read_text())
    (tests / "test_it.py").write_text("def test_it(kafka):\n    assert kafka\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_XDIST_WORKER"} | {"CI": ci}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert outcome in done.stdout.splitlines()[-1]
    assert "NOT TESTED AGAINST KAFKA" in done.stdout
