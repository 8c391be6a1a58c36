"""Read models in PostgreSQL keep what every store of read models promises."""

import traceback

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from engage.store.views import UnstorableRowsError, ViewStore
from engage.testing.store_contract import ViewStoreContract
from engage.testing.store_rows import FULL, Everything, change


@pytest.mark.postgres
class TestPostgres(ViewStoreContract):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url

    def test_what_columns_mean_is_written_in_the_database(self, store: ViewStore, url: str) -> None:
        engine = create_engine(url)
        found = inspect(engine)
        comments = {column["name"]: column["comment"] for column in found.get_columns("everything")}
        about = found.get_table_comment("everything")["text"]
        engine.dispose()
        assert about == "One column of every type."
        assert comments["name"] == "who it is, in one word"
        assert comments["score"] == "0-100"

    def test_columns_have_postgresql_s_own_types(self, store: ViewStore, url: str) -> None:
        store.commit([change(0, 1, FULL)])
        engine = create_engine(url)
        with engine.connect() as connection:
            types: dict[str, str] = dict(
                connection.execute(
                    text("SELECT column_name, udt_name FROM information_schema.columns WHERE table_name = 'everything'")
                ).all()
            )
            euros = connection.scalar(text("SELECT (totals ->> 'EUR')::float FROM everything"))
        engine.dispose()
        wanted = {"seen": "timestamptz", "amount": "numeric", "totals": "jsonb", "count": "int8", "score": "float8"}
        assert {name: types[name] for name in wanted} == wanted
        assert euros == 1.5

    def test_a_text_with_a_null_character_is_a_row_that_no_column_can_hold(self, store: ViewStore) -> None:
        with pytest.raises(UnstorableRowsError) as refused:
            store.commit([change(0, 1, Everything("bad", name="a\0b"), Everything("good"))])
        assert list(refused.value.failures) == [("everything", "bad")]

    def test_an_error_quotes_no_row(self, store: ViewStore) -> None:
        statements = ("INSERT INTO everything (name) VALUES ('Ada')", r"""SELECT '{"a": "Ada\u0000"}'::jsonb""")
        for statement in statements:
            with pytest.raises(DBAPIError) as refused, store.database.write() as connection:
                connection.exec_driver_sql(statement)
            told = "".join(traceback.format_exception(refused.value.orig))
            assert "DETAIL" not in f"{refused.value}{told}"
            assert "Ada" not in f"{refused.value.args}{refused.value.orig}"
