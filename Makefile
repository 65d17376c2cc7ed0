.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OPS ?= 5000
SECONDS ?= 60
MINUTES ?= 10

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/local  ## start everything: the service, with PostgreSQL and Valkey where no servers are named
	@$(BIN)/python -m local run

demo: $(VENV)/local  ## import a social graph into what `make run` started, and show what Lenta does
	@$(BIN)/python -m local demo

flask: $(VENV)/local  ## run a command on what `make run` started: make flask CMD="rebuild-feed 123"
	@$(BIN)/python -m local flask $(CMD)

test: $(VENV)/dev  ## run the tests
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/dev  ## lint, types, import directions, bandit, pip-audit
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive app workers migrations metrics_folder.py
	@$(BIN)/python -m tests.audit

contract: $(VENV)/dev  ## let newman and schemathesis test the service as it is documented: make contract SECONDS=600
	@$(BIN)/python -m tests.contract --seconds $(SECONDS) $(ARGS)

mutations: $(VENV)/dev  ## break each protection of the feed's protocol in turn, and see that the tests find it
	@$(BIN)/python -m pytest tests/protocol/test_mutations.py -m "" -rA $(ARGS)

load: $(VENV)/dev  ## read and write on a social graph, with Prometheus watching: make load MINUTES=10 (needs prometheus)
	@$(BIN)/python -m tests.load --minutes $(MINUTES) $(ARGS)

bench: $(VENV)/dev  ## measure beside floors and peers, and print the table: make bench ONLY=read
	@$(BIN)/python -m benchmarks $(addprefix --only ,$(ONLY)) $(ARGS)

chaos: $(VENV)/dev  ## break everything while clients write, then prove that nothing is lost: make chaos OPS=50000
	@$(BIN)/python -m tests.chaos --ops $(OPS) $(ARGS)

rolling: $(VENV)/dev  ## restart everything in turn while clients read and write: make rolling SECONDS=60
	@$(BIN)/python -m tests.rolling --seconds $(SECONDS) $(ARGS)

format: $(VENV)/dev  ## put the code into form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

$(VENV)/%: requirements.txt requirements-%.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lenta needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing requirements-$*.txt"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-$*.txt
	@touch $@

.PHONY: help run demo flask test check contract mutations load bench chaos rolling format
