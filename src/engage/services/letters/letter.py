"""What a dead letter is, whoever could not take it, and which of them are meant."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any, Literal

from msgspec import Struct, structs

from engage.rules.mending import consumer_of as rule_consumer_of
from engage.services.view_words import consumer_of as view_consumer_of

Verb = Literal["retry", "skip"]
Outcome = Literal["goes_on", "failed_again", "waits", "refused"]
"""``waits``: the word is on its way, and the consumer has not come to it yet. ``refused``: nothing was done."""

INTAKE = "intake"
_ID_BYTES = 5
_WORD = re.compile(r"[\w…]+(?:[-.:/+@][\w…]+)*")
_DIGIT = re.compile(r"\d")
_CODE = re.compile(
    r"""(?<![\w./:@+-])(?:
        (?i:http(?:/[\d.]+)?|status|code|errno|error|exit)[\s=:'"\[(]{1,3}\d{1,4}(?![\w]|[-.:/+@]\w)  # Errno 28
        | [1-5]\d\d(?=\ [A-Z][a-z])  # 404 Not Found
    )""",
    re.VERBOSE,
)
"""A number that says what failed, and not for whom."""


class WrongChoiceError(ValueError):
    """Which letters are meant cannot be told: the message says how to say it."""


class NoSuchLetterError(LookupError):
    """No dead letter has such an id: it goes on by now, or never was."""

    def __init__(self, named: str) -> None:
        super().__init__(
            f"no dead letter is called {named!r} any more: `engage dead-letters list` shows those there are"
        )
        self.status = 404


class DeadLetter(Struct, frozen=True, kw_only=True):
    """An event that ``consumer`` (``rule NAME``, ``view NAME``, ``intake``, ``desk``, …) could not take.

    ``account`` stands still for a rule or read model since, from the event on that stands at ``partition`` and
    ``offset`` of the log (of intake: among the dead letters). ``key`` is the row where a read model's row stands still,
    ``missed`` how many events it has missed. ``cannot``: what cannot be done with it, and what to do instead.
    """

    id: str
    consumer: str
    fault: str
    account: str
    partition: int
    offset: int
    event_id: str = ""
    since: datetime | None = None
    key: str | None = None
    missed: int | None = None
    cannot: dict[Verb, str] = {}


class Details(Struct, frozen=True):
    """A dead letter with the whole error, and the event as the log has it, sealed; null where it is none."""

    letter: DeadLetter
    error: str
    event: dict[str, Any] | None


class Done(Struct, frozen=True):
    """What came of a retry or a skip of one letter; ``detail`` in words where there is more to say."""

    letter: DeadLetter
    outcome: Outcome
    detail: str = ""


class Chosen(Struct, frozen=True, kw_only=True):
    """Which letters: those of these ``ids``, or how they begin, and those that fit everything else that is given.

    ``fault`` is a part of the fault, or of its shape as lists show it. Nothing given: all of them.
    """

    ids: tuple[str, ...] = ()
    fault: str | None = None
    consumer: str | None = None
    rule: str | None = None
    view: str | None = None
    account: str | None = None
    since: datetime | None = None

    @property
    def says(self) -> bool:
        """Whether it says anything: who wants all must say that."""
        return self != Chosen()

    def fits(self, letter: DeadLetter) -> bool:
        """Whether the letter is meant."""
        return (
            (not self.ids or any(letter.id.startswith(one) for one in self.ids))
            and (self.fault is None or self.fault in letter.fault or self.fault in shape_of(letter))
            and (self.consumer is None or letter.consumer == self.consumer)
            and (self.rule is None or letter.consumer == rule_consumer_of(self.rule))
            and (self.view is None or letter.consumer == view_consumer_of(self.view))
            and (self.account is None or letter.account == self.account)
            and (self.since is None or (letter.since is not None and letter.since >= self.since))
        )


def id_of(consumer: str, account: str, key: str | None, partition: int, offset: int, event_id: str) -> str:
    """The same as long as it is the same event that the same consumer could not take; ten letters."""
    told = "\n".join((consumer, account, key or "", str(partition), str(offset), event_id))
    return blake2b(told.encode(), digest_size=_ID_BYTES).hexdigest()


def chosen_by(where: str, moment: Any) -> Chosen:
    """What ``fault=… rule=… account=… since=…`` chooses; ``moment`` reads the text of a moment.

    WrongChoiceError for anything else.
    """
    names = [name for name in structs.asdict(Chosen()) if name != "ids"]
    found: dict[str, Any] = {}
    try:
        words = shlex.split(where)
    except ValueError as error:
        raise WrongChoiceError(f"{where!r} cannot be read ({error}): write fault=… rule=… account=… since=…") from error
    for word in words:
        name, told, value = word.partition("=")
        if not told or name not in names or not value:
            raise WrongChoiceError(f"{word!r} chooses nothing: write one of {', '.join(f'{one}=…' for one in names)}")
        found[name] = moment(value) if name == "since" else value
    return Chosen(**found)


def shape_of(letter: DeadLetter) -> str:
    """The fault without what is this letter's alone: its ids, and whatever has a digit and is no code, read ``…``."""
    kind, colon, message = letter.fault.partition(": ")
    for name in sorted({letter.account, letter.event_id, letter.key or ""} - {""}, key=len, reverse=True):
        message = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", message)
    shape, end = f"{kind}{colon}", 0
    for code in _CODE.finditer(message):
        shape += _without_digits(message[end : code.start()]) + code[0]
        end = code.end()
    return shape + _without_digits(message[end:])


def _without_digits(text: str) -> str:
    return _WORD.sub(lambda word: "…" if _DIGIT.search(word[0]) else word[0], text)


def by_fault(letters: Iterable[DeadLetter]) -> Mapping[tuple[str, str], list[DeadLetter]]:
    """The letters by consumer and the fault's shape, the most frequent first, each in the order of the log."""
    groups: dict[tuple[str, str], list[DeadLetter]] = {}
    for letter in sorted(letters, key=lambda one: (one.partition, one.offset, one.account)):
        groups.setdefault((letter.consumer, shape_of(letter)), []).append(letter)
    return dict(sorted(groups.items(), key=lambda one: (-len(one[1]), one[0])))
