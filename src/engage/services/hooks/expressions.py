"""JMESPath with the three functions that foreign webhooks need and JMESPath lacks, and faults that name the expression.

The language: https://jmespath.org/specification.html.
"""

from __future__ import annotations

from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions, signature

from engage.services.mapping import MappingError


class ExpressionError(ValueError):
    """An expression that this body does not answer: ``args`` are where it stands in the mapping, and the message."""


class _Functions(Functions):
    """``divide(number, number)``, ``upper(string)``, ``lower(string)``: cents to units, codes in one form."""

    @signature({"types": ["number"]}, {"types": ["number"]})
    def _func_divide(self, number: float, by: float) -> float:
        return number / by

    @signature({"types": ["string"]})
    def _func_upper(self, text: str) -> str:
        return text.upper()

    @signature({"types": ["string"]})
    def _func_lower(self, text: str) -> str:
        return text.lower()


_OPTIONS = jmespath.Options(custom_functions=_Functions())


class Expression:
    """A compiled expression, which stands at ``path`` in the mapping; MappingError if ``text`` is none."""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        try:
            self._compiled = jmespath.compile(text)
        except JMESPathError as error:
            raise MappingError(f"{path}: {text!r} is no JMESPath: {_first_line(error)}") from error

    def __call__(self, shape: Any) -> Any:
        """What it finds in ``shape``, None if nothing; ExpressionError where it cannot be asked of it."""
        try:
            return self._compiled.search(shape, _OPTIONS)
        except (JMESPathError, ArithmeticError, TypeError, ValueError, RecursionError) as error:
            raise self.fault(_first_line(error)) from error

    def fault(self, words: str) -> ExpressionError:
        """What is wrong with what it found."""
        return ExpressionError(self.path, f"{self.text!r} {words}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
