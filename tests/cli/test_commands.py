"""Commands one by one, in this process: what they refuse and in which words, and what they show."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from engage import bootstrap
from engage.cli.listening import listen
from engage.cli.main import app
from engage.cli.output import CommandFailedError, table
from engage.settings import Settings, load
from tests.cli.given import lines, order

RUNNER = CliRunner()


def run(*arguments: str) -> Result:
    return RUNNER.invoke(app, list(arguments))


def publish(home: Path, *items: dict[str, Any] | str) -> Result:
    """Publish these lines from a file beside the home."""
    file = home.parent / "events.ndjson"
    file.write_text(lines(*items))
    return run("publish", str(file), "--json")


def one_line(result: Result, code: int) -> str:
    """What was said, which is one line and no traceback; the exit code is ``code``."""
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    [said] = result.stderr.strip().splitlines()
    return said


@pytest.fixture
def waiting(home: Path) -> str:
    """The id of a follow-up that waits: a ticket of yesterday that nobody has answered."""

    async def live_a_day() -> None:
        moments = [datetime.now(UTC) - timedelta(hours=20)]
        settings = Settings(home=str(home))
        async with bootstrap.platform(settings, clock=lambda: moments[-1]) as platform:
            data = {"ticket_id": "t-1", "priority": "urgent", "topic": "login", "channel": "email"}
            ticket = order(type="Ticket Opened", time=moments[-1].isoformat(), data=data)
            await platform.publish([json.dumps(ticket).encode()])
            moments.append(datetime.now(UTC))
            await platform.settle()

    asyncio.run(live_a_day())
    [found] = json.loads(run("follow-ups", "--json").stdout)["follow_ups"]
    identity: str = found["follow_up"]
    return identity


@pytest.mark.parametrize("command", [["status"], ["account", "x"], ["follow-ups"], ["follow-ups", "list"]])
def test_an_empty_home_is_said_to_be_empty(home: Path, command: list[str]):
    assert "there is no log" in one_line(run(*command), 4)


def test_a_file_that_is_not_there_is_named(home: Path):
    assert "nowhere.ndjson" in one_line(run("publish", "nowhere.ndjson"), 2)


def test_a_mapping_that_is_not_there_is_named(home: Path):
    assert "nowhere.toml" in one_line(run("import", "csv", "x.csv", "--map", "nowhere.toml"), 2)


def test_an_empty_file_is_said_to_be_empty(home: Path, tmp_path: Path):
    (tmp_path / "empty").touch()
    result = run("publish", str(tmp_path / "empty"))
    assert result.exit_code == 3
    assert "the file is empty" in result.stderr


def test_segment_messages_are_taken(home: Path):
    message = {
        "type": "track",
        "event": "Order Completed",
        "messageId": "m-1",
        "userId": "u-1",
        "timestamp": "2026-03-01T10:00:00Z",
        "properties": {"order_id": "o-1", "total": 5},
    }
    assert json.loads(publish(home, message).stdout)["taken"] == 1


def test_many_faults_are_counted_and_the_first_ones_told(home: Path):
    result = publish(home, *["bad"] * 50)
    summary = json.loads(result.stdout)
    assert (summary["refused"], len(summary["faults"]), summary["unlisted"]) == (50, 20, 30)
    assert "30 more were refused" in result.stderr


def test_a_table_is_imported_by_its_mapping_and_a_second_time_nothing_is_new(home: Path, tmp_path: Path):
    table, mapping = tmp_path / "orders.csv", tmp_path / "map.toml"
    table.write_text("who,when,amount\nc-1,2026-03-01,5.5\nc-2,someday,1\nc-2,2026-03-02,7\n")
    mapping.write_text(
        'type = "Order Completed"\nsource = "urn:t"\nsubject = "{who}"\n[time]\ncolumn = "when"\nformat = "%Y-%m-%d"\n'
        '[data]\norder_id = { template = "{line}" }\ntotal = { column = "amount", kind = "float" }\ncurrency = "EUR"\n'
    )
    first = run("import", "csv", str(table), "--map", str(mapping), "--json")
    assert first.exit_code == 3
    assert "line 3: when" in first.stderr
    assert json.loads(first.stdout)["taken"] == 2
    assert json.loads(run("import", "csv", str(table), "--map", str(mapping), "--json").stdout)["duplicates"] == 2


def test_a_mapping_that_cannot_work_is_named(home: Path, tmp_path: Path):
    (tmp_path / "map.toml").write_text("type = 7")
    said = one_line(run("import", "csv", "x.csv", "--map", str(tmp_path / "map.toml")), 2)
    assert "map.toml: type: is a number, a text is needed" in said


def mapped(tmp_path: Path, kind: str, *fields: str, options: tuple[str, ...] = ()) -> Result:
    (tmp_path / "orders.csv").write_text("who,when\nc-1,2026-03-01\n")
    (tmp_path / "map.toml").write_text(
        f'type = "{kind}"\nsource = "urn:t"\nsubject = "{{who}}"\n[time]\ncolumn = "when"\nformat = "%Y-%m-%d"\n'
        "[data]\n" + "\n".join(f"{field} = 'x'" for field in fields)
    )
    return run("import", "csv", str(tmp_path / "orders.csv"), "--map", str(tmp_path / "map.toml"), *options)


def test_a_mapping_with_a_type_that_nobody_knows_is_refused_before_the_first_line(home: Path, tmp_path: Path):
    said = one_line(mapped(tmp_path, "Order Complete", "order_id"), 2)
    assert "did you mean 'Order Completed'?" in said
    assert "--allow-unknown-type" in said
    assert run("status").exit_code == 4


def test_a_type_that_nobody_knows_is_taken_when_that_is_meant(home: Path, tmp_path: Path):
    result = mapped(tmp_path, "Visit Made", "place", options=("--allow-unknown-type",))
    assert result.exit_code == 0, result.output
    assert "1 of unknown type 'Visit Made'" in result.stderr


def test_a_mapping_without_a_field_that_its_type_needs_is_refused(home: Path, tmp_path: Path):
    assert "needs ticket_id" in one_line(mapped(tmp_path, "Ticket Opened", "topic"), 2)


def test_a_field_that_its_type_does_not_declare_is_warned_of(home: Path, tmp_path: Path):
    result = mapped(tmp_path, "Ticket Opened", "ticket_id", "chanel")
    assert "data.chanel: 'Ticket Opened' does not declare it (did you mean 'channel'?)" in result.stderr


def test_a_type_that_is_nearly_one_is_told_at_the_end(home: Path):
    result = publish(home, order(), order(2, type="order completed"), order(3, type="order completed"))
    assert result.exit_code == 0
    assert "2 of unknown type 'order completed' (did you mean 'Order Completed'?)" in result.stderr
    assert json.loads(result.stdout)["unknown_types"] == {"order completed": 2}


def test_the_refused_lines_are_written_for_a_retry(home: Path, tmp_path: Path):
    (tmp_path / "events.ndjson").write_text(lines(order(), *["bad"] * 50, order(2, time="soon"), order(3)))
    rejects = tmp_path / "rejects.ndjson"
    assert run("publish", str(tmp_path / "events.ndjson"), "--rejects", str(rejects)).exit_code == 3
    assert rejects.read_text() == lines(*["bad"] * 50, order(2, time="soon"))


def test_refused_rows_are_written_below_their_header(home: Path, tmp_path: Path):
    header = "customer_id date number_of_cds dollar_value\n"
    (tmp_path / "p.txt").write_text(f"{header}00001 19970101 1 11.77\n00002 someday 1 12.00\n")
    rejects = tmp_path / "rejects.txt"
    assert run("import", "cdnow", str(tmp_path / "p.txt"), "--rejects", str(rejects)).exit_code == 3
    assert rejects.read_text() == f"{header}00002 someday 1 12.00\n"


def test_faults_are_told_in_the_order_of_the_lines(home: Path):
    said = publish(home, order(time="soon"), "bad", order(2, time="x"), "7").stderr
    told = [line for line in said.splitlines() if ", line " in line]
    assert told == sorted(told)
    assert all(line.startswith("events.ndjson, line ") for line in told)
    assert len(told) == 4


@pytest.mark.parametrize("command", [[], ["--version"]])
def test_engage_alone_and_its_version_are_no_failure(command: list[str]):
    result = run(*command)
    assert result.exit_code == 0
    assert "engage" in result.stdout


def test_history_is_recorded_at_its_time(home: Path, tmp_path: Path):
    (tmp_path / "cdnow.txt").write_text(
        "customer_id date number_of_cds dollar_value\n00002 19970112 1 12.00\n00001 19970101 1 11.77\n"
    )
    result = run("import", "cdnow", str(tmp_path / "cdnow.txt"), "--history", "--json")
    assert json.loads(result.stdout)["taken"] == 2, result.output
    [entry] = json.loads(run("account", "cdnow-00001", "--json").stdout)["timeline"][-1:]
    assert entry["recorded"].startswith("1997-01-01")


def test_a_follow_up_is_worked_on_from_the_command_line(waiting: str):
    def act(verb: str, *options: str) -> dict[str, object]:
        result = run("follow-ups", verb, waiting, *options, "--json")
        assert result.exit_code == 0, result.output
        state: dict[str, object] = json.loads(result.stdout)
        return state

    def status() -> str:
        [found] = json.loads(run("follow-ups", "list", "--account", "customer-17", "--json").stdout)["follow_ups"]
        told: str = found["status"]
        return told

    assigned = act("assign", "--to", "grace")
    assert (assigned["assignee"], assigned["status"]) == ("grace", "assigned")
    assert status() == "assigned"
    assert act("snooze", "--until", "1h")["status"] == "snoozed"
    assert status() == "snoozed"
    version = act("start")["version"]
    assert "version" in one_line(run("follow-ups", "start", waiting, "--if-version", "1"), 1)
    assert act("complete", "--outcome", "answered", "--note", "called", "--if-version", str(version))["outcome"]
    assert json.loads(run("follow-ups", "--json").stdout)["follow_ups"] == []
    assert "completed" in one_line(run("follow-ups", "dismiss", waiting, "--reason", "late"), 1)


@pytest.mark.parametrize("until", ["yesterday", "5x", "2026-13-01"])
def test_a_moment_that_is_none_is_wrong_usage(waiting: str, until: str):
    assert until in one_line(run("follow-ups", "snooze", waiting, "--until", until), 2)


def test_a_moment_that_is_past_is_refused(waiting: str):
    assert "cannot rest" in one_line(run("follow-ups", "snooze", waiting, "--until", "2020-01-01"), 1)


def test_a_follow_up_that_does_not_exist_is_not_found(waiting: str):
    assert "there is no follow-up" in one_line(run("follow-ups", "start", str(uuid4())), 4)


def test_a_status_that_is_none_is_wrong_usage(waiting: str):
    assert "snoozed" in one_line(run("follow-ups", "--status", "nonsense"), 2)


def test_tables_show_what_is_there(waiting: str):
    queue = run("follow-ups").stdout
    assert waiting[:8] in queue
    assert "customer-17" in queue
    assert "overdue" in queue
    page = run("account", "customer-17").stdout
    assert re.search(r"tickets +1 open", page)
    assert waiting[:8] in page
    assert "customer-17" in page
    status = run("status").stdout
    assert re.search(r"timeline +1 +0 +0", status)
    assert "owned by nobody" in status
    for shown in (queue, page, status):
        assert all(line == line.rstrip() for line in shown.splitlines())


def test_the_queue_keeps_a_long_account_whole():
    name = "subsidiary-of-a-company-with-a-very-long-name-indeed-and-a-number-0001234567890"
    assert all(name in line for line in table(("id", "account"), [("1", name), ("2", name)])[1:])


def test_the_beginning_of_an_id_is_enough(waiting: str):
    assert run("follow-ups", "start", waiting[:8]).exit_code == 0
    assert "begins with" in one_line(run("follow-ups", "start", "0" * 8 if waiting[0] != "0" else "f" * 8), 4)
    assert "no id" in one_line(run("follow-ups", "start", "zz"), 2)


def test_a_rule_that_nobody_knows_is_answered_with_those_there_are(waiting: str):
    assert "support-answer-overdue" in one_line(run("follow-ups", "--rule", "nosuch"), 2)


def test_a_terminal_without_blocks_gets_bars_of_plain_signs(home: Path, monkeypatch: pytest.MonkeyPatch):
    publish(home, order())
    plain = CliRunner(charset="ascii").invoke(app, ["account", "customer-17"])
    assert plain.exit_code == 0
    assert "#---" in plain.stdout


def test_what_comes_from_outside_is_shown_as_it_is(home: Path):
    strange = "[bold]:smile: حساب 😀"
    publish(home, order(subject=strange))
    assert strange in run("account", strange).stdout


def test_an_unknown_account_is_not_found(home: Path):
    publish(home, order())
    assert "there is no account 'nobody'" in one_line(run("account", "nobody"), 4)


@pytest.mark.parametrize("command", [["up"], ["demo"]])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_it_listens_on_loopback_only(home: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], host: str):
    monkeypatch.setenv("ENGAGE_HOST", host)
    said = one_line(run(*command), 2)
    assert host in said
    assert "ENGAGE_BEHIND_PROXY" in said


def test_the_next_free_port_is_taken_unless_one_was_asked_for():
    with listen("127.0.0.1", 0, asked=False) as first:
        port = first.getsockname()[1]
        with listen("127.0.0.1", port, asked=False) as second:
            assert second.getsockname()[1] > port
        with pytest.raises(CommandFailedError, match=f"port {port} is taken"):
            listen("127.0.0.1", port, asked=True)


@pytest.mark.parametrize("host", ["nobody.invalid", "x" * 70])
def test_a_host_that_nobody_knows_is_named(host: str):
    with pytest.raises(CommandFailedError, match=f"no host '{host}' is known"):
        listen(host, 0, asked=True)


def test_a_setting_that_nobody_knows_is_refused_with_the_nearest(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ENGAGE_HOMEE", "/elsewhere")
    assert "did you mean ENGAGE_HOME?" in one_line(run("status"), 2)


def test_what_only_tests_and_flags_use_is_no_unknown_setting(home: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("ENGAGE_SOAK", "ENGAGE_LOCAL", "ENGAGE_ACTOR"):
        monkeypatch.setenv(name, "1")
    assert "there is no log" in one_line(run("status"), 4)


@pytest.mark.parametrize("url", ["postgresql", "postgresql://u:secret@h:port/x", "mysql://h/x"])
def test_views_that_are_no_database_are_one_line_without_the_password(
    home: Path, monkeypatch: pytest.MonkeyPatch, url: str
):
    monkeypatch.setenv("ENGAGE_VIEWS", url)
    said = one_line(run("status"), 2)
    assert "ENGAGE_VIEWS" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@h:5432/x?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgresql+psycopg://u@/x?host=/var/run/postgresql",
        "postgres://u@[::1]:5432/x",
    ],
)
def test_views_may_say_what_their_driver_needs(url: str):
    assert load({"ENGAGE_VIEWS": url}).views == url


def test_a_home_that_is_a_file_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ENGAGE_HOME", str(tmp_path / "file"))
    assert "which is a file" in one_line(run("publish", "/dev/null"), 2)
    assert "which is a file" in one_line(run("status"), 2)


def test_lost_read_models_are_said_to_be_missing(home: Path):
    publish(home, order())
    (home / "views.db").unlink()
    assert "views.db is missing" in one_line(run("follow-ups"), 1)


def test_a_missing_master_key_is_said_to_be_missing_and_never_made_anew(home: Path):
    publish(home, order())
    (home / "master.key").unlink()
    assert "master.key is missing" in one_line(publish(home, order(2)), 1)
    assert not (home / "master.key").exists()


@pytest.mark.parametrize(("name", "value"), [("ENGAGE_LOG", "redis://x"), ("ENGAGE_PARTITIONS", "many")])
def test_a_setting_that_is_wrong_is_named(home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    assert name in one_line(run("status"), 2)


@pytest.mark.parametrize(
    "command",
    [["worker", "intake"], ["worker", "projections"], ["worker", "desk"], ["topics", "create"], ["topics", "check"]],
)
def test_what_needs_kafka_says_so(home: Path, command: list[str]):
    assert "ENGAGE_LOG=kafka://" in one_line(run(*command), 2)


def test_kafka_that_is_away_is_said_to_be_away(home: Path, monkeypatch: pytest.MonkeyPatch):
    with listen("127.0.0.1", 0, asked=True) as opened:
        port = opened.getsockname()[1]
    monkeypatch.setenv("ENGAGE_LOG", f"kafka://127.0.0.1:{port}")
    result = run("topics", "check")
    assert result.exit_code == 1
    assert f"127.0.0.1:{port}" in result.stderr
    assert "see that it runs" in result.stderr.lower()


@pytest.mark.parametrize("option", [["--today", "2999-01-01"], ["--scale", "2"]])
def test_a_demo_that_cannot_be_is_wrong_usage(home: Path, option: list[str]):
    assert run("demo", "--once", *option).exit_code == 2


@pytest.mark.parametrize("option", [[], ["--fresh"]])
def test_the_demo_leaves_a_log_of_somebodys_own_alone(home: Path, option: list[str]):
    publish(home, order())
    assert "not the demo's" in one_line(run("demo", "--once", *option), 1)
    assert run("account", "customer-17").exit_code == 0


def test_a_fresh_demo_deletes_engages_own_files_and_no_others(home: Path):
    assert run("demo", "--once", "--json", "--scale", "0.001", "--today", "2026-03-01").exit_code == 0
    (home / "notes.txt").write_text("mine")
    again = run("demo", "--once", "--json", "--fresh", "--scale", "0.001", "--today", "2026-02-01")
    assert again.exit_code == 0, again.output
    assert "loaded already" not in again.stderr
    assert (home / "notes.txt").read_text() == "mine"
    assert bootstrap.log_path(Settings(home=str(home))).exists()


def test_a_file_that_is_no_database_is_told_and_not_traced(home: Path):
    publish(home, order())
    (home / "log.db").write_text("this is no database" * 1_000)
    assert str(home / "log.db") in one_line(run("status"), 1)


@pytest.mark.parametrize("command", [["status"], ["follow-ups"]])
def test_lost_relationships_are_left_to_be_restored_from_the_log(home: Path, waiting: str, command: list[str]):
    (home / "relationships.db").unlink()
    assert "engage up" in one_line(run(*command), 4)
    assert publish(home, order()).exit_code == 0
    assert run("follow-ups", "start", waiting).exit_code == 0


def test_the_health_benchmark_names_a_line_that_cannot_be_read(home: Path, tmp_path: Path):
    (tmp_path / "purchases.txt").write_text("00001 19970101 1 11.77\n00001 someday 1 11.77\n")
    assert "line 2" in one_line(run("benchmark", "health", str(tmp_path / "purchases.txt")), 1)
