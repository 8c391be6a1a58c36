"""Finds what a package's files offer, so that adding a rule or a read model means adding one file."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from importlib import import_module
from typing import TypeVar

T = TypeVar("T")


def discover(packages: Sequence[str], kind: type[T]) -> tuple[T, ...]:
    """Every value of ``kind`` at the top of a module in ``packages``, each once, in the order of their names."""
    found: dict[int, T] = {}
    for package in packages:
        for module in pkgutil.iter_modules(import_module(package).__path__):
            if not module.ispkg:
                values = vars(import_module(f"{package}.{module.name}")).values()
                found.update((id(value), value) for value in values if isinstance(value, kind))
    return tuple(found.values())
