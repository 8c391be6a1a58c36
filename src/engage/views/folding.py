"""One pass of events over many read models: dispatch by type, group by row, fold in log order, park what fails.

Pure: rows come in by a function and go out as values. The projector, verify and ``engage.testing`` fold with this.
Speed lives here: an event costs one dictionary look-up when nobody listens to it, and its data is then never decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Raw, Struct, structs

from engage.events.catalogue import CATALOGUE
from engage.events.codec import open_data
from engage.events.envelope import Event
from engage.events.linking import BEGINS_ANEW
from engage.views.aggregate import Aggregate
from engage.views.parking import Stops
from engage.views.passes import AggregatePass, DueKeys, Folded, KeysOf, Load, ProjectionPass
from engage.views.projection import Key, Projection, ReadModel
from engage.views.walk import Span

Listener = tuple[int, Any]
"""The place of a model, and what it does with an event: folds it, or takes shares of it."""


class _Plan(Struct, frozen=True):
    """Who listens to a type: ``by_key`` those whose rows change, one entry a way to find the row; ``others`` the rest.

    Most models find their rows by the account: it is looked up once for all of them. ``silent`` says that an event of
    the type changes nothing here, whatever it says; ``anew`` that an account begins anew with it.
    """

    catalogued: bool
    by_key: list[tuple[Key, list[Listener]]]
    others: list[Listener]
    silent: bool = False
    anew: bool = False


class Taken(Struct, frozen=True):
    """Events of one partition, each with the rows that it belongs to, which are to be loaded and folded."""

    events: Sequence[Event[Any]]
    passes: list[ProjectionPass | AggregatePass]

    def wanted(self) -> list[tuple[ReadModel[Any], list[str]]]:
        """The keys of the rows that ``fold`` is going to load first, by model; what aggregates want shows later."""
        return [
            (one.projection, list(one.steps)) for one in self.passes if isinstance(one, ProjectionPass) and one.steps
        ]

    def fold(self, load: Load) -> list[Folded]:
        """What comes of it, a result for each model."""
        if self.events:
            span = Span(self.events)
            for one in self.passes:  # first the rows, whose changes are what aggregates of them add up
                if isinstance(one, ProjectionPass):
                    one.finish(load, span)
            for one in self.passes:
                if isinstance(one, AggregatePass):
                    one.finish(load, span)
        return [one.folded for one in self.passes]


class Folding:
    """Read models compiled into one dispatch table by event type. An aggregate comes with the projection it is of."""

    def __init__(self, models: Sequence[ReadModel[Any]]) -> None:
        self.models = tuple(models)
        for model in self.models:
            if isinstance(model, Aggregate) and model.of is not None and model.of not in self.models:
                raise ValueError(f"aggregate {model.name!r} is folded with {model.of.name!r} or not at all")
        self._plans: dict[str, _Plan] = {}
        self._linked_plans: dict[tuple[str, bool], _Plan] = {}
        self._untyped = self._planned(
            False,
            [
                (place, model.fold_any)
                for place, model in enumerate(self.models)
                if isinstance(model, Projection) and model.fold_any is not None
            ],
        )
        self._untyped_linked = [self._linked_plan("", self._untyped, passed_over) for passed_over in (False, True)]

    def fold(
        self,
        events: Sequence[Event[Any]],
        load: Load,
        stops: Mapping[str, Stops] | None = None,
        due_keys: DueKeys | None = None,
        keys_of: KeysOf | None = None,
    ) -> list[Folded]:
        """Fold events of one partition, in log order, ``partition`` and ``offset`` set; a result for each model.

        ``stops`` says, by model, what is parked already; ``due_keys`` which rows are to be woken although no event of
        theirs is here, ``keys_of`` which are an account's, where identities were linked.
        """
        return self.take(events, stops, due_keys, keys_of).fold(load)

    def take(
        self,
        events: Sequence[Event[Any]],
        stops: Mapping[str, Stops] | None = None,
        due_keys: DueKeys | None = None,
        keys_of: KeysOf | None = None,
        silent_until: Mapping[str, int] | None = None,
    ) -> Taken:
        """The same as far as it needs no rows: so all that are wanted, of all models, can be loaded at once.

        ``silent_until`` says, by model, before which offset nobody hears what it announces.
        """
        passes = self._passes(stops or {})
        if silent_until:
            for model, one in zip(self.models, passes, strict=True):
                one.folded.silent_until = silent_until.get(model.name, 0)
        takes = [one.take for one in passes]
        steps_of = [one.steps if isinstance(one, ProjectionPass) else {} for one in passes]
        for event in events:
            plan, untyped = self._plans.get(event.type) or self._plan(event.type), self._untyped
            if plan.silent:
                continue
            if event.linkedto is not None or event.origin is not None or event.retold:
                passed_over = event.linkedto is not None
                plan, untyped = self._linked_plan(event.type, plan, passed_over), self._untyped_linked[passed_over]
            elif plan.anew:
                for one in passes:
                    if isinstance(one, ProjectionPass) and not one.projection.stays:
                        one.begin_anew(event, keys_of)
            broken: Exception | None = None
            if plan.catalogued and type(event.data) is Raw:
                try:
                    open_data(event)
                except Exception as error:  # whatever it is, it concerns this account's rows only
                    broken = error
                else:
                    if type(event.data) is Raw:  # the record is older than its type: no typed fold can read it
                        plan = untyped
            for key_of, listeners in plan.by_key:
                key, failed = None, broken is not None
                if not failed:
                    try:
                        key = key_of(event)
                    except Exception:
                        failed = True
                    else:
                        if key is None:
                            continue
                for place, fold in listeners:
                    if failed or key is None or passes[place].stops is not None:
                        takes[place](event, fold, broken)
                    elif (steps := steps_of[place].get(key)) is None:
                        steps_of[place][key] = [(fold, event)]
                    else:
                        steps.append((fold, event))
            for place, fold in plan.others:
                takes[place](event, fold, broken)
        if events and due_keys is not None:
            span = Span(events)
            for one in passes:
                if isinstance(one, ProjectionPass):
                    one.wake(span, due_keys)
        return Taken(events, passes)

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

    def _plan(self, kind: str) -> _Plan:
        listeners: list[Listener] = []
        for place, model in enumerate(self.models):
            fold = model.folds.get(kind) if isinstance(model, Projection | Aggregate) else None
            if fold is None and isinstance(model, Projection):
                fold = model.fold_any
            if fold is not None:
                listeners.append((place, fold))
        plan = self._planned(kind in CATALOGUE and bool(listeners), listeners)
        anew = kind in BEGINS_ANEW
        plan = self._plans[kind] = structs.replace(plan, silent=not listeners and not anew, anew=anew)
        return plan

    def _linked_plan(self, kind: str, plan: _Plan, passed_over: bool) -> _Plan:
        """Who of those that ``plan`` names listens to a record that stands elsewhere too.

        What stays hears it where it was said, and all other rows the copy. Sums of events count it where it was said.
        """
        linked = self._linked_plans.get((kind, passed_over))
        if linked is None:

            def heard(listeners: Sequence[Listener]) -> list[Listener]:
                return [one for one in listeners if self._hears(self.models[one[0]], passed_over)]

            by_key = [(key, kept) for key, listeners in plan.by_key if (kept := heard(listeners))]
            linked = self._linked_plans[kind, passed_over] = _Plan(plan.catalogued, by_key, heard(plan.others))
        return linked

    @staticmethod
    def _hears(model: ReadModel[Any], passed_over: bool) -> bool:
        return passed_over == (isinstance(model, Aggregate) or (isinstance(model, Projection) and model.stays))

    def _planned(self, catalogued: bool, listeners: Sequence[Listener]) -> _Plan:
        by_key: dict[Key, list[Listener]] = {}
        others: list[Listener] = []
        for place, fold in listeners:
            model = self.models[place]
            if isinstance(model, Projection) and not model.append_only:
                by_key.setdefault(model.key, []).append((place, fold))
            else:
                others.append((place, fold))
        return _Plan(catalogued, list(by_key.items()), others)
