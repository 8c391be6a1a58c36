"""The alert rules and the dashboard in ``deploy/`` ask only for figures that engage tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prometheus_client
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from engage import bootstrap
from engage.services import gauges, metrics
from engage.services.webhooks.managing import NewEndpoint
from engage.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "engage.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OF_PROMETHEUS = {"up"}
NOT_EMBEDDED = {"engage_database_bytes": set[str]()}


def selectors(expression: str) -> Iterator[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []
    parsed = promql_parser.parse(expression.replace("$__rate_interval", "5m"))

    def look(part: Any) -> None:
        if isinstance(part, promql_parser.MatrixSelector):
            part = part.vector_selector
        if isinstance(part, promql_parser.VectorSelector):
            found.append(part)

    promql_parser.walk(parsed, look)
    yield from found


@pytest.fixture
async def told(tmp_path: Path) -> dict[str, set[str]]:
    """The names of all samples that a process may tell, each with its labels."""
    async with bootstrap.platform(Settings(home=str(tmp_path))) as platform:
        await platform.webhooks.add(NewEndpoint(url="https://mailer.example/", on=("follow_up.requested",)))
        standing = await gauges.standing(platform, tmp_path)
        families = [
            *prometheus_client.REGISTRY.collect(),
            *text_string_to_metric_families(metrics.text(standing).decode()),
        ]
    found = dict(NOT_EMBEDDED)
    for collector in prometheus_client.REGISTRY._collector_to_names:
        for name in prometheus_client.REGISTRY._collector_to_names[collector]:
            found[name] = {*getattr(collector, "_labelnames", ()), "le"}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> list[str]:
    asked = [str(rule["expr"]) for rule in RULES]
    return asked + [str(target["expr"]) for panel in PANELS for target in panel["targets"]]


async def test_every_figure_that_is_asked_for_is_told(told: dict[str, set[str]]) -> None:
    asked: set[str] = set()
    for expression in expressions():
        for selector in selectors(expression):
            name = selector.name
            assert name in OF_PROMETHEUS or name in told, f"{name} in {expression}"
            asked.add(str(name))
            for matcher in selector.matchers.matchers if name in told else ():
                assert matcher.name in told[str(name)], f"{name} has no label {matcher.name}"
    assert len(asked) > 20
    ours = {name for name in told if name.startswith("engage_")}
    shown = {name for name in asked if name.startswith("engage_")}
    stems = {name.removesuffix("_bucket").removesuffix("_total") for name in shown}
    ends = ("_bucket", "_count", "_sum", "_created", "_total")
    missing = {name for name in ours if not name.endswith(ends) and name not in stems}
    assert not missing, "neither an alert nor a panel shows it"


def test_an_alert_says_what_is_wrong_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES) > 10
    for rule in RULES:
        assert rule["annotations"].keys() == {"summary", "action"}
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_the_dashboard_can_be_imported() -> None:
    assert DASHBOARD["uid"] == "engage"
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["datasource"]
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["title"]
        assert panel["description"]
        right = panel["gridPos"]["x"] + panel["gridPos"]["w"]
        assert right <= 24
