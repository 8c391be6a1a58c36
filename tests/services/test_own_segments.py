"""A house declares its own segments, and hears of each mistake in its file."""

import pytest

from engage import bootstrap
from engage.services.configuration import ConfigurationError
from engage.services.own_segments import with_segments
from projections import PROJECTIONS

OWN = '[regular]\nabout = "Orders often"\nall = ["orders >= 3"]\n'


def named(models, name):
    return next(model for model in models if model.name == name)


def test_without_a_file_the_shipped_segments_hold(tmp_path):
    assert with_segments(PROJECTIONS, tmp_path / "none") == PROJECTIONS


def test_the_house_s_own_take_their_place_as_another_version(tmp_path):
    (tmp_path / "segments.toml").write_text(OWN)
    models = bootstrap.read_models(bootstrap.settings({"ENGAGE_HOME": str(tmp_path)}))
    assert [model.name for model in models] == [model.name for model in PROJECTIONS]
    assert named(models, "segments").version != named(PROJECTIONS, "segments").version
    assert named(models, "segment_sizes").of is named(models, "segments")
    assert [size.segment for size in named(models, "segment_sizes").merged([])] == ["regular"]
    untouched = [model for model in PROJECTIONS if model.name not in ("segments", "segment_sizes")]
    assert all(model in models for model in untouched)


def test_the_file_that_the_setting_names_must_be_there_and_right(tmp_path):
    settings = bootstrap.settings({"ENGAGE_HOME": str(tmp_path), "ENGAGE_SEGMENTS": str(tmp_path / "own.toml")})
    with pytest.raises(ConfigurationError, match=r"own\.toml cannot be read"):
        bootstrap.read_models(settings)
    (tmp_path / "own.toml").write_text(OWN.replace("orders", "ordrs"))
    with pytest.raises(ConfigurationError, match=r"own\.toml, line 3, \[regular\]: there is no fact 'ordrs'"):
        bootstrap.read_models(settings)
    (tmp_path / "own.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="is no text"):
        bootstrap.read_models(settings)
