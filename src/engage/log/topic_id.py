"""The id that Kafka gives a topic when it is created: what tells a log from another one made later under its name.

aiokafka speaks the Metadata request up to version 5; the topic's id is in version 12 (Kafka 2.8, KIP-516), so that one
request is spelled out here.
"""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)
from msgspec import Struct

_UUID_BYTES = 16
_NO_ERROR, _UNKNOWN_TOPIC = 0, 3


class TopicFacts(Struct, frozen=True):
    """A topic as the cluster describes it: its id, as Kafka's own tools write it, and its number of partitions."""

    id: str
    partitions: int


class _Uuid(AbstractType[bytes]):  # type: ignore[misc]
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(_UUID_BYTES)


class _MetadataResponse(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString()),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _MetadataRequestV12(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString()), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequestV12]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def build(self, request_struct_class: type[_MetadataRequestV12]) -> _MetadataRequestV12:
        asked: list[tuple[bytes, str, dict[int, bytes]]] = [(bytes(_UUID_BYTES), name, {}) for name in self._names]
        return request_struct_class(asked, False, False, {})


async def describe_topics(client: Any, names: list[str]) -> dict[str, TopicFacts]:
    """The facts of each topic that exists, by name; none is made by asking. ``client`` is an ``AIOKafkaClient``.

    KafkaError if the cluster does not answer, or cannot say (RuntimeError) what a topic is.
    """
    answer = await client.send(client.get_random_node(), _MetadataRequest(names))
    found = {}
    for error, name, topic_id, _internal, partitions, *_ in answer.topics:
        if error == _NO_ERROR:
            found[name] = TopicFacts(base64.urlsafe_b64encode(topic_id).decode().rstrip("="), len(partitions))
        elif error != _UNKNOWN_TOPIC:
            raise RuntimeError(f"Kafka does not describe the topic {name!r}: error code {error}")
    return found
