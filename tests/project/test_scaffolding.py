"""What a newcomer's first commands rest on: setting up, the local broker, the pinned versions, the compose file."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.servers import NO_WAY_TO_RUN_IT, PROJECT

PIN = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)")


def run(*command: str | Path, cwd: Path = PROJECT, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")} | environment
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that setting up reads, in a folder without a .venv."""
    (tmp_path / "scripts").mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "scripts/setup"):
        shutil.copy(PROJECT / name, tmp_path / name)
    return tmp_path


def pins() -> dict[str, str]:
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    found = [PIN.fullmatch(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(pin[1]): pin[2] for pin in found if pin}


def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    return content


def test_setting_up_a_second_time_does_nothing(checkout: Path):
    (checkout / ".venv").mkdir()
    (checkout / ".venv/.ready").touch()
    (checkout / ".venv/.compiled").touch()
    assert "Nothing to be done" in run("make", "setup", cwd=checkout, LC_ALL="C").stdout
    assert {path.name for path in (checkout / ".venv").iterdir()} == {".ready", ".compiled"}


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_setting_up_installs_again_when_what_it_installs_has_changed(checkout: Path, changed: str):
    (checkout / ".venv").mkdir()
    (checkout / ".venv/.ready").touch()
    os.utime(checkout / ".venv/.ready", (0, 0))
    for name in {"pyproject.toml", "constraints.txt", "scripts/setup"} - {changed}:
        os.utime(checkout / name, (0, 0))
    assert "scripts/setup" in run("make", "--dry-run", "setup", cwd=checkout).stdout


def test_a_python_that_is_too_old_is_named_with_the_remedy(checkout: Path):
    old = program(checkout / "old-python", "exit 1")
    done = run("make", "setup", f"PYTHON={old}", cwd=checkout)
    assert done.returncode
    assert f"no Python 3.11 or newer among: {old}" in done.stderr
    assert "make setup PYTHON=" in done.stderr


def test_a_python_without_venv_is_named_with_the_remedy(checkout: Path):
    bare = program(checkout / "bare-python", f'case "$2" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"')
    done = run("make", "setup", f"PYTHON={bare}", cwd=checkout)
    assert done.returncode
    assert f"apt-get install python3.{sys.version_info[1]}-venv" in done.stderr


def test_every_target_is_listed_with_what_it_is_for():
    targets = re.findall(r"^\.PHONY: (.*)", (PROJECT / "Makefile").read_text(), re.MULTILINE)[0].split()
    assert [line.split()[0] for line in run("make").stdout.splitlines()] == targets


@pytest.mark.fault
def test_the_local_broker_starts_once_says_where_it_is_and_stops(kafka: str, tmp_path: Path):
    local, where = PROJECT / "scripts/local-kafka", ("--dir", tmp_path)
    try:
        address = run(local, "start", "--port", "0", *where).stdout
        assert re.fullmatch(r"127\.0\.0\.1:\d+\n", address)
        assert address.strip() != kafka
        assert run(local, "start", "--port", "0", *where).stdout == address
        assert run(local, "status", *where).stdout == address
        assert run(local, "stop", *where).returncode == 0
        assert run(local, "status", *where).returncode == 3
    finally:
        run(local, "remove", *where)


def test_the_local_broker_does_not_take_another_programs_port(kafka: str, tmp_path: Path):
    port = kafka.rpartition(":")[2]
    done = run(PROJECT / "scripts/local-kafka", "start", "--port", port, "--dir", tmp_path)
    assert done.returncode == 1
    assert f"port {port} is taken" in done.stderr


def test_a_docker_client_without_an_engine_is_noticed_where_there_is_no_java(tmp_path: Path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(sys.executable)
    program(tmp_path / "bin/docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    local = (sys.executable, PROJECT / "scripts/local-kafka")
    done = run(*local, "start", "--port", "0", "--dir", tmp_path / "broker", PATH=str(tmp_path / "bin"))
    assert done.returncode == NO_WAY_TO_RUN_IT
    assert "there is a docker client, but no engine answers it" in done.stderr
    assert "install Java 17 and Maven" in done.stderr


def test_a_constraint_is_a_name_and_a_version_and_nothing_else():
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#") and not PIN.fullmatch(line)] == []


def test_every_dependency_that_the_project_names_is_pinned_within_its_bounds():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    named = (
        project["project"]["dependencies"] + project["dependency-groups"]["dev"] + project["build-system"]["requires"]
    )
    versions = pins()
    outside = [
        text
        for text in named
        if (wanted := Requirement(text)).specifier.contains(versions.get(canonicalize_name(wanted.name), "0")) is False
        or canonicalize_name(wanted.name) not in versions
    ]
    assert outside == []


def test_composed_services_are_reached_from_this_machine_alone():
    published = [port for service in compose()["services"].values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)] == []


def test_composed_services_wait_for_servers_that_say_when_they_are_healthy():
    services = compose()["services"]
    assert set(services["topics"]["depends_on"]) == {"kafka"}
    for name in ("topics", "streams", "projections", "desk", "http"):
        waits_for = services[name]["depends_on"]
        assert name == "topics" or {"topics", "postgres"} <= set(waits_for)
        assert all("healthcheck" in services[other] for other in waits_for if other != "topics")
        assert waits_for.get("topics", {}).get("condition", "") in ("", "service_completed_successfully")


def test_composed_kafka_is_the_one_that_tests_run_against():
    version = re.search(r'^VERSION = "(.*)"', (PROJECT / "scripts/local-kafka").read_text(), re.MULTILINE)
    assert version
    assert compose()["services"]["kafka"]["image"] == f"apache/kafka:{version[1]}"
    assert f"<version>{version[1]}</version>" in (PROJECT / "scripts/kafka.pom.xml").read_text()


def test_the_image_holds_every_file_that_building_it_copies():
    copied = re.findall(r"^COPY (.*) \S+$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    kept = {line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = {source for line in copied for source in line.split()}
    assert sources <= kept
    assert all((PROJECT / source).exists() for source in sources)
