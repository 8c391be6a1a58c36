# Everything a developer runs. `make` alone lists it; every target sets up what it needs first.

BIN := .venv/bin
READY := .venv/.ready
# A process a core, each with a broker and a database of its own; the tests of a file share them, and what it has loaded.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test soak check fmt bench-demo bench-codec bench-log bench-streams bench-projections bench-http bench-faults bench-replay clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' Makefile

setup: $(READY) ## make .venv and install engage into it (PYTHON=… chooses the interpreter)

$(READY): pyproject.toml constraints.txt scripts/setup
	@PYTHON='$(PYTHON)' scripts/setup
	@touch $@

demo: $(READY) ## load the demo history and serve it (ONCE=1: one JSON object and no server; FRESH=1; PORT=8080)
	@$(BIN)/engage demo $(if $(ONCE),--once --json) $(if $(FRESH),--fresh) $(if $(PORT),--port $(PORT))

test: $(READY) ## run all tests, those against real Kafka and PostgreSQL included (ARGS="-k intake -x")
	@$(BIN)/pytest $(SIDE_BY_SIDE) $(ARGS)

soak: $(READY) ## run the same tests long: more rounds of faults, more random histories
	@ENGAGE_SOAK=1 $(BIN)/pytest $(SIDE_BY_SIDE) -o timeout=7200 $(ARGS)

check: $(READY) ## lint, formatting, types and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fmt: $(READY) ## format the code and mend what the linter can
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

bench-demo: $(READY) ## how long the whole demo takes to load, and how much memory
	@$(BIN)/python -m benchmarks.demo $(ARGS)

bench-codec: $(READY) ## decoding an event, against orjson on the same bytes
	@$(BIN)/python -m benchmarks.codec

bench-log: $(READY) ## appending to the SQLite log, against a bare executemany of the same rows
	@$(BIN)/python -m benchmarks.sqlite_append

bench-streams: $(READY) ## the Faust worker on a real broker, against Faust as it comes
	@$(BIN)/python -m benchmarks.streams

bench-projections: $(READY) ## the projector against a hand-written loop, SQL event by event and a library's runner
	@$(BIN)/python -m benchmarks.projections

bench-http: $(READY) ## publishing and reading over HTTP, against a bare loop and bare endpoints (ARGS="--overload 600")
	@$(BIN)/python -m benchmarks.http $(ARGS)

bench-faults: $(READY) ## what kill -9 costs the Faust worker, and what it costs Faust as it comes
	@$(BIN)/python -m benchmarks.faults

bench-replay: $(READY) ## what-if against the bare engine, and read models as they stood, on a log of a million events
	@$(BIN)/python -m benchmarks.replay $(ARGS)

clean: ## remove .venv, the local broker and its data, and all caches (engage-data stays)
	@scripts/local-kafka remove
	@rm -rf .venv .local dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find src streams projections tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
