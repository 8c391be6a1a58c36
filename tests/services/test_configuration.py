"""A house's own settings of rules and policy, and what is said of wrong ones."""

from datetime import timedelta

import pytest

from engage.rules.policy import PolicySettings
from engage.services.configuration import ConfigurationError, configured
from streams import RULES


def settings_of(chosen, name):
    return next(rule.settings for rule in chosen.rules if rule.name == name)


def test_what_the_file_does_not_name_stays_as_the_code_has_it(tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text('[win-back]\nat_least = "P45D"\n\n[policy]\ncap = 2\n')
    chosen = configured(RULES, file)
    assert settings_of(chosen, "win-back").at_least == timedelta(days=45)
    assert (
        settings_of(chosen, "win-back").orders == settings_of(configured(RULES, tmp_path / "none"), "win-back").orders
    )
    assert chosen.policy.cap == 2
    assert chosen.policy.cap_window == PolicySettings().cap_window


def test_the_rules_in_the_code_are_not_changed(tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text("[win-back]\norders = 9\n")
    assert settings_of(configured(RULES, file), "win-back").orders == 9
    assert settings_of(configured(RULES, tmp_path / "none"), "win-back").orders == 2


def test_without_a_file_the_defaults_hold(tmp_path):
    assert configured(RULES, tmp_path / "none").rules == RULES
    with pytest.raises(ConfigurationError, match="cannot be read"):
        configured(RULES, tmp_path / "none", must_exist=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[win-back", "is not TOML"),
        ("[winback]\n", "no rule 'winback'"),
        ("[win-back]\nrhythmus = 2\n", r"\[win-back\]: there is no setting 'rhythmus'"),
        ("[win-back]\nat_least = 45\n", "ISO 8601"),
        ('[win-back]\norders = "many"\n', "orders"),
        ("win-back = 3\n", "is no table"),
    ],
)
def test_a_wrong_file_is_refused_with_place_and_remedy(tmp_path, text, words):
    file = tmp_path / "rules.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        configured(RULES, file)
