"""The tables of the accounts' keys: what is kept of each key, and of the master keys that wrapped them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, Table, Text

TABLES = MetaData()
MASTERS = Table(
    "master_keys",
    TABLES,
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("probe", LargeBinary, nullable=False, comment="32 zero bytes, wrapped: tells a wrong key"),
    comment="Which master keys wrapped the keys here, the newest wraps new ones; the keys themselves are elsewhere.",
)
KEYS = Table(
    "account_keys",
    TABLES,
    Column("account", Text, primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("master", BigInteger, nullable=False, comment="generation of the master key that wrapped it"),
    Column("wrapped", LargeBinary, comment="RFC 3394; null once it was forgotten, its generation never returns"),
    comment="A key per account and generation.",
)
ERASURES = Table(
    "erasures",
    TABLES,
    Column("log", Text, primary_key=True, comment="the log's generation"),
    Column("partition", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False, comment="every account.erased before it has been carried out here"),
    comment="How far the log has been read for accounts whose keys are to be forgotten.",
)
CARRIED = (MASTERS, KEYS)
"""The tables that go along when a house moves; how far erasures were carried out is said of one log alone."""
