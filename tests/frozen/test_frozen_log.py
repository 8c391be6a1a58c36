"""The frozen log, folded by today's rules: the decisions are those on it, to the byte."""

import gzip
import json
from functools import cache

import pytest

from engage.events import codec
from engage.log.contract import Record
from engage.rules.decisions import TYPES as DECISIONS
from engage.rules.engine import Engine
from engage.services.intake import Stamp
from engage.services.partition_runner import PartitionRunner
from streams import RULES
from tests.frozen.freeze import FILE


@cache
def records():
    """The records by partition."""
    partitions = {}
    for line in gzip.decompress(FILE.read_bytes()).splitlines():
        told = json.loads(line)
        value = json.dumps(told["event"], separators=(",", ":"), ensure_ascii=False).encode()
        record = Record(told["partition"], told["offset"], codec.decode(value).now, value)
        partitions.setdefault(record.partition, []).append(record)
    return partitions


@pytest.mark.parametrize("partition", sorted(records()))
def test_todays_rules_decide_what_was_decided(partition):
    log = records()[partition]
    runner = PartitionRunner(Engine(partition, RULES), Stamp(partition), 0, lambda end: log[:end])
    # A decision that is folded has no ``recorded`` yet, intake gives it one: everything else must be equal.
    decided = [codec.encode(decision) for decision in runner.fold(log)]
    on_the_log = []
    for record in log:
        event = codec.decode(record.value)
        if event.type in DECISIONS:
            event.recorded = None
            on_the_log.append(codec.encode(event))
    assert len(on_the_log) > 20
    assert decided == on_the_log


UNSEEN = {"cross-sell-opening"}
"""Rules that no log can show yet: no projection emits ``cross_sell.opening_found`` so far, and nobody else may."""


def test_every_rule_has_decided_something_on_the_frozen_log():
    deciding = {
        codec.open_data(event).data.rule
        for log in records().values()
        for record in log
        if (event := codec.decode(record.value)).type in DECISIONS
    }
    assert deciding == {rule.name for rule in RULES} - UNSEEN
