# Every target sets up what it needs on a machine that has only Python 3.11-3.13 and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
CODE   := flows tasks data_checks deployments infra
# A file at a time on both cores, the longest ones first (tests/conftest.py).
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo up status down test test-all check format bench lock

help:            ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## virtual environment from requirements.lock (hash-checked), compiled bytecode, Prefect's tables

# pip compiles the bytecode of what it installs (it halves every later start), whatever PYTHONDONTWRITEBYTECODE says.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"radtrain needs Python 3.11 to 3.13, but $(PYTHON) is {v[0]}.{v[1]}. Say: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-deps --require-hashes --compile -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q $(CODE)
	$(BIN)/python -m infra.prepare_database
	@touch $@

demo: $(READY)   ## five classifiers from drawn phantoms: no data and no network needed
	$(BIN)/radtrain demo

up: $(READY)     ## Prefect, MLflow and a worker on this machine, for the images in RADTRAIN_DATA
	@$(BIN)/radtrain up

status: $(READY) ## what of them runs, and their links
	@$(BIN)/radtrain status

down: $(READY)   ## stop them
	@$(BIN)/radtrain down

test: $(READY)   ## the test suite that CI runs
	$(PYTEST) -m "not full"

test-all: $(READY) ## the whole test suite, the heavy ones too
	$(PYTEST)

check: $(READY)  ## lint, format, types, import direction, lock file, reference pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m tests.architecture.check_lock
	$(BIN)/python -m tests.architecture.reference_pages

format: $(READY) ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## seconds and memory against plain Keras on the same images and cores, as ratios; what Prefect adds; a search; the checks; the finder of copies
	$(BIN)/python -m tests.benchmarks.against_plain_keras
	$(BIN)/python -m tests.benchmarks.intensive
	$(BIN)/python -m tests.benchmarks.sweep
	$(BIN)/python -m tests.benchmarks.orchestration
	$(BIN)/python -m tests.benchmarks.checks
	$(BIN)/python -m tests.benchmarks.duplicate_finder

lock: $(READY)   ## renew requirements.lock from pyproject.toml
	$(BIN)/python -m tests.architecture.check_lock --write
