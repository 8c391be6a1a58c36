"""Made-up people and companies: names, addresses that cannot exist (RFC 2606), countries, and who looks after whom."""

from __future__ import annotations

from random import Random
from zlib import crc32

from engage.events.catalogue.codes import Country

MANAGERS = tuple(f"manager-{name}" for name in ("ana", "bo", "chidi", "dana", "eli", "farah", "goran", "hana"))
"""Ids of the relationship managers."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_GIVEN = _words(
    "Ada Alan Amara Anton Aya Bea Ben Carla Chen Clara Dario David Dina Elena Emil Emma Esra Farid Finn "
    "Grace Hana Hugo Ines Ivan Jane Jonas Kai Keiko Lars Laura Lena Leo Lucia Malik Maria Mats Mina "
    "Nadia Noah Nora Olga Omar Paul Pia Rosa Ruth Sam Sara Tariq Tess Tom Uma Vera Victor Wen Yara Yusuf "
    "Zoe"
)
_FAMILY = _words(
    "Adler Baker Bauer Berg Brown Castro Chen Clark Costa Diaz Dubois Evans Fischer Ford Garcia Gray "
    "Haas Hansen Hill Ito Jansen Jones Kaya Keller Khan Kim Klein Lange Lee Lopez Marino Martin Meyer "
    "Moreau Mori Nielsen Novak Okafor Olsen Patel Pereira Quinn Reed Rossi Roth Sato Schulz Silva Singh "
    "Smith Sousa Stone Tanaka Weber Wilson Wood Young Zhang"
)
_PLACES: tuple[tuple[Country, tuple[str, ...]], ...] = (
    ("US", ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles")),
    ("CA", ("America/Toronto", "America/Vancouver")),
    ("GB", ("Europe/London",)),
    ("DE", ("Europe/Berlin",)),
    ("FR", ("Europe/Paris",)),
    ("JP", ("Asia/Tokyo",)),
    ("BR", ("America/Sao_Paulo",)),
    ("AU", ("Australia/Sydney",)),
)
_PLACE_WEIGHTS = (70, 9, 7, 4, 3, 3, 2, 2)
_FIRST = _words(
    "Amber Bright Cedar Delta Ember Fjord Granite Harbor Indigo Juniper Kestrel Lantern Meridian Northlight Opal Pine"
)
_SECOND = {
    "vendor": "Records",
    "supplier": "Pressing",
    "distributor": "Distribution",
    "partner": "Media",
}


def manager_of(account: str) -> str:
    """The relationship manager of an account of the demo."""
    return MANAGERS[crc32(account.encode()) % len(MANAGERS)]


def person(rng: Random, number: int) -> tuple[str, str]:
    """A made-up name and e-mail address; ``number`` keeps addresses apart."""
    given, family = rng.choice(_GIVEN), rng.choice(_FAMILY)
    return f"{given} {family}", f"{given}.{family}.{number}@example.com".lower()


def place(rng: Random) -> tuple[Country, str]:
    """A country (ISO 3166-1) and a time zone (IANA) in it."""
    country, zones = rng.choices(_PLACES, _PLACE_WEIGHTS)[0]
    return country, rng.choice(zones)


def company(number: int, kind: str) -> str:
    """The made-up name of partner ``number``, counted from 1 within its ``kind``, up to 16."""
    return f"{_FIRST[number - 1]} {_SECOND[kind]}"
