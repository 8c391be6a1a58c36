"""One pass of events over many read models: dispatch by type, group by row, fold in log order, park what fails.

Pure: rows come in by a function and go out as values. The projector, verify and ``engage.testing`` fold with this.
Speed lives here: an event costs one dictionary look-up when nobody listens to it, and its data is then never decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Raw

from engage.events.catalogue import CATALOGUE
from engage.events.codec import open_data
from engage.events.envelope import Event
from engage.views.aggregate import Aggregate
from engage.views.parking import Stops
from engage.views.passes import AggregatePass, DueKeys, Folded, Load, ProjectionPass, Span
from engage.views.projection import Projection, ReadModel

Listener = tuple[int, Any]


class Folding:
    """Read models compiled into one dispatch table by event type. An aggregate comes with the projection it is of."""

    def __init__(self, models: Sequence[ReadModel[Any]]) -> None:
        self.models = tuple(models)
        for model in self.models:
            if isinstance(model, Aggregate) and model.of is not None and model.of not in self.models:
                raise ValueError(f"aggregate {model.name!r} is folded with {model.of.name!r} or not at all")
        self._plans: dict[str, tuple[bool, list[Listener]]] = {}
        self._untyped: list[Listener] = [
            (place, model.fold_any)
            for place, model in enumerate(self.models)
            if isinstance(model, Projection) and model.fold_any is not None
        ]

    def fold(
        self,
        events: Sequence[Event[Any]],
        load: Load,
        stops: Mapping[str, Stops] | None = None,
        due_keys: DueKeys | None = None,
    ) -> list[Folded]:
        """Fold events of one partition, in log order, ``partition`` and ``offset`` set; a result for each model.

        ``stops`` says, by model, what is parked already; ``due_keys`` which rows are to be woken although no event of
        theirs is here.
        """
        passes = self._passes(stops or {})
        takes = [one.take for one in passes]
        for event in events:
            catalogued, listeners = self._plans.get(event.type) or self._plan(event.type)
            if not listeners:
                continue
            broken: Exception | None = None
            if catalogued and type(event.data) is Raw:
                try:
                    open_data(event)
                except Exception as error:  # whatever it is, it concerns this account's rows only
                    broken = error
                else:
                    if type(event.data) is Raw:  # the record is older than its type: no typed fold can read it
                        listeners = self._untyped
            for place, fold in listeners:
                takes[place](event, fold, broken)
        if not events:
            return [one.folded for one in passes]
        span = Span(events)
        for one in passes:  # first the rows, whose changes are what aggregates of them add up
            if isinstance(one, ProjectionPass):
                one.finish(load, span, due_keys)
        for one in passes:
            if isinstance(one, AggregatePass):
                one.finish(load, span)
        return [one.folded for one in passes]

    def _passes(self, stops: Mapping[str, Stops]) -> list[ProjectionPass | AggregatePass]:
        sums = {
            model.name: AggregatePass(model, stops.get(model.name))
            for model in self.models
            if isinstance(model, Aggregate)
        }
        passes: list[ProjectionPass | AggregatePass] = []
        for model in self.models:
            if isinstance(model, Projection):
                fed = [sums[aggregate.name] for aggregate in model.aggregates if aggregate.name in sums]
                passes.append(ProjectionPass(model, stops.get(model.name), fed))
            else:
                passes.append(sums[model.name])
        return passes

    def _plan(self, kind: str) -> tuple[bool, list[Listener]]:
        listeners: list[Listener] = []
        for place, model in enumerate(self.models):
            fold = model.folds.get(kind) if isinstance(model, Projection | Aggregate) else None
            if fold is None and isinstance(model, Projection):
                fold = model.fold_any
            if fold is not None:
                listeners.append((place, fold))
        self._plans[kind] = plan = (kind in CATALOGUE, listeners)
        return plan
