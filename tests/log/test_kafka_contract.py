"""The log on a real Kafka broker keeps what every log promises."""

from collections.abc import AsyncIterator

import pytest

from engage.testing.log_contract import LogContract
from tests.log.kafka_platform import KafkaPlatform, intake, kafka_platform


class TestKafkaLog(LogContract):
    @pytest.fixture
    async def platform(self, kafka: str) -> AsyncIterator[KafkaPlatform]:
        async with kafka_platform(kafka) as platform, intake(platform):
            yield platform
