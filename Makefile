.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OPS ?= 5000
SECONDS ?= 60
JOBS ?= 3
MINUTES ?= 10

help:  ## list all commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/local  ## start the service, with its own PostgreSQL and Valkey unless servers are configured
	@$(BIN)/python -m local run

demo: $(VENV)/local  ## import a social graph into a running `make run`, and show Lenta at work
	@$(BIN)/python -m local demo

flask: $(VENV)/local  ## run a command on a running `make run`: make flask CMD="rebuild-feed 123"
	@$(BIN)/python -m local flask $(CMD)

test: $(VENV)/dev  ## run the tests, JOBS at a time
	@$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal $(ARGS)

check: $(VENV)/dev  ## lint, types, import directions, bandit, pip-audit
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive app workers migrations
	@$(BIN)/python -m tests.tools.audit

contract: $(VENV)/dev  ## test the service against its API documents with newman, generated clients and schemathesis: make contract SECONDS=600
	@$(BIN)/python -m tests.tools.contract --seconds $(SECONDS) $(ARGS)

mutations: $(VENV)/dev  ## disable each safeguard of the feed protocol in turn, and check that the tests detect it
	@$(BIN)/python -m pytest tests/system/protocol/test_mutations.py -m "" -rA $(ARGS)

compose: $(VENV)/compose  ## test docker-compose.yml and the commands of docs/compose.md with real containers (needs docker)
	@tests/system/compose/images.sh
	@REQUIRE_ENGINE=1 $(BIN)/python -m pytest tests/system/compose $(ARGS)

upgrade:  ## upgrade the services of docker compose to this version, with a short interruption
	docker compose build
	docker compose run --rm migrate
	docker compose up -d --no-deps worker worker-bulk
	docker compose up -d --no-deps web
	docker compose up -d --wait

load: $(VENV)/dev  ## generate load on a social graph, monitored by Prometheus: make load MINUTES=10 (needs prometheus)
	@$(BIN)/python -m tests.tools.load --minutes $(MINUTES) $(ARGS)

bench: $(VENV)/dev  ## run benchmarks against a baseline and alternatives: make bench ONLY=read
	@$(BIN)/python -m benchmarks $(addprefix --only ,$(ONLY)) $(ARGS)

chaos: $(VENV)/dev  ## inject faults under load, then verify that nothing is lost: make chaos OPS=50000
	@$(BIN)/python -m tests.tools.chaos --ops $(OPS) $(ARGS)

rolling: $(VENV)/dev  ## restart all processes in turn under load: make rolling SECONDS=60
	@$(BIN)/python -m tests.tools.rolling --seconds $(SECONDS) $(ARGS)

format: $(VENV)/dev  ## format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

$(VENV)/%: requirements.txt requirements-%.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lenta needs Python 3.11 or newer; choose one: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing requirements-$*.txt"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-$*.txt
	@touch $@

.PHONY: help run demo flask test check contract mutations compose upgrade load bench chaos rolling format
