# Everything a developer runs. `make` alone lists it; every target sets up what it needs first.

BIN := .venv/bin
READY := .venv/.ready
# The engine's modules have a .pxd each, by which they are compiled where there is a C compiler.
CORE := $(wildcard src/engage/rules/*.pxd)
COMPILED := .venv/.compiled
# A process a core, each with a broker and a database of its own; the tests of a file share them, and what it has loaded.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test soak check fmt bench-demo bench-codec bench-log bench-streams bench-projections bench-http bench-faults bench-replay clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' Makefile

setup: $(COMPILED) ## make .venv and install engage into it (PYTHON=… chooses the interpreter)

$(READY): pyproject.toml constraints.txt scripts/setup
	@PYTHON='$(PYTHON)' scripts/setup
	@touch $@

$(COMPILED): $(READY) $(CORE) $(CORE:.pxd=.py) $(wildcard scripts/compile_core.py)
	@$(if $(CORE),$(BIN)/python scripts/compile_core.py)
	@touch $@

demo: $(COMPILED) ## load the demo history and serve it (ONCE=1: one JSON object and no server; FRESH=1; PORT=8080)
	@$(BIN)/engage demo $(if $(ONCE),--once --json) $(if $(FRESH),--fresh) $(if $(PORT),--port $(PORT))

test: $(COMPILED) ## run all tests, those against real Kafka and PostgreSQL included (ARGS="-k intake -x")
	@$(BIN)/pytest $(SIDE_BY_SIDE) $(ARGS)

soak: $(COMPILED) ## run the same tests long: more rounds of faults, more random histories
	@ENGAGE_SOAK=1 $(BIN)/pytest $(SIDE_BY_SIDE) -o timeout=7200 $(ARGS)

check: $(READY) ## lint, formatting, types and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fmt: $(READY) ## format the code and mend what the linter can
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

bench-demo: $(COMPILED) ## how long the whole demo takes to load, and how much memory
	@$(BIN)/python -m benchmarks.demo $(ARGS)

bench-codec: $(COMPILED) ## decoding an event, against orjson on the same bytes
	@$(BIN)/python -m benchmarks.codec

bench-log: $(COMPILED) ## appending to the SQLite log, against a bare executemany of the same rows
	@$(BIN)/python -m benchmarks.sqlite_append

bench-streams: $(COMPILED) ## the Faust worker on a real broker, against Faust as it comes
	@$(BIN)/python -m benchmarks.streams

bench-projections: $(COMPILED) ## the projector against a hand-written loop, SQL event by event and a library's runner
	@$(BIN)/python -m benchmarks.projections

bench-http: $(COMPILED) ## publishing and reading over HTTP, against a bare loop and bare endpoints (ARGS="--overload 600")
	@$(BIN)/python -m benchmarks.http $(ARGS)

bench-faults: $(COMPILED) ## what kill -9 costs the Faust worker, and what it costs Faust as it comes
	@$(BIN)/python -m benchmarks.faults

bench-replay: $(COMPILED) ## what-if against the bare engine, and read models as they stood, on a log of a million events
	@$(BIN)/python -m benchmarks.replay $(ARGS)

clean: ## remove .venv, the local broker and its data, and all caches (engage-data stays)
	@scripts/local-kafka remove
	@rm -rf .venv .local dist src/engage/_compiled .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find src streams projections tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
