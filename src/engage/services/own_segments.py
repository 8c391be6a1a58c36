"""The house's own segments: a TOML file in the place of those that are shipped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engage.services.configuration import ConfigurationError
from engage.views.projection import ReadModel
from projections.shared.segment_language import SegmentsError, parsed
from projections.shared.segments import declared


def with_segments(
    models: Sequence[ReadModel[Any]], path: Path, *, must_exist: bool = False
) -> tuple[ReadModel[Any], ...]:
    """``models``, those of segments by what the file at ``path`` declares; ConfigurationError names what is wrong."""
    if not path.exists() and not must_exist:
        return tuple(models)
    try:
        own = {model.name: model for model in declared(parsed(path.read_text(), str(path)))}
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (SegmentsError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(error) if isinstance(error, SegmentsError) else f"{path} is no text") from error
    return tuple(own.get(model.name, model) for model in models)
