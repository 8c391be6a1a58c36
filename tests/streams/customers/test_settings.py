"""Whoever sets a rule up finds each of its settings explained, and whoever reads the rule why it exists."""

from importlib import import_module

import pytest

from streams import RULES

CUSTOMERS = [rule for rule in RULES if type(rule.settings).__module__.startswith("streams.customers")]


@pytest.mark.parametrize("rule", CUSTOMERS, ids=lambda rule: rule.name)
def test_every_setting_of_a_rule_is_explained_and_has_a_default(rule):
    explained = type(rule.settings).__doc__
    assert explained
    assert [name for name in rule.settings.__struct_fields__ if f"``{name}``" not in explained] == []
    assert type(rule.settings)() == rule.settings


@pytest.mark.parametrize("rule", CUSTOMERS, ids=lambda rule: rule.name)
def test_a_rule_is_named_after_its_file_which_says_why_it_exists(rule):
    module = import_module(type(rule.settings).__module__)
    assert module.__name__.rpartition(".")[2] == rule.name.replace("-", "_")
    assert module.__doc__
