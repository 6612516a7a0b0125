# The project's commands. `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TYPESCRIPT := sdk/typescript
TYPESCRIPT_INSTALLED := $(TYPESCRIPT)/node_modules/.installed
# More arguments for the command behind a target: make test ARGS="tests/sdk -k retry"
ARGS ?=
# How many seeds make soak runs, and from which on.
SEEDS ?= 1000
FROM ?= 0
# How many seeds of 2,000 random calls make soak runs on each kind of database.
FUZZ_SEEDS ?= 20
# Over how many attempts make soak cuts watches and kills the server.
ATTEMPTS ?= 20000

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install run test clients soak bench docs check typescript format protos lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## install everything into .venv (instant when nothing changed)

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Octohooks needs Python 3.11 or newer as $(PYTHON); choose one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV) (the first time takes about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
# The build backend is in the lock, so nothing unpinned is fetched to build the project itself.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# On your own machine the receivers are on loopback, where the server else refuses to send.
run: export OCTOHOOKS_ALLOWED_SUBNETS ?= 127.0.0.0/8,::1/128
run: install ## start the server
	$(BIN)/octohooks serve $(ARGS)

# Many tests wait for servers, so there are more workers than cores.
test: export PYTEST_XDIST_AUTO_NUM_WORKERS ?= $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)')
test: install ## run the tests; choose with ARGS="tests/sdk -k retry"
	$(BIN)/python -m pytest -n auto $(ARGS)

clients: install ## compile and call the clients of docs/clients.md, which fetches much
	$(BIN)/python -m pytest tests/clients -m "" $(ARGS)

soak: install ## simulate crashes and faults; choose with SEEDS=10000 FROM=0
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) --from $(FROM)
	$(BIN)/python -m tests.fuzz --seeds $(FUZZ_SEEDS) --from $(FROM)
	$(BIN)/python -m tests.fuzz --seeds $(FUZZ_SEEDS) --from $(FROM) --postgresql
	$(BIN)/python -m tests.acceptance.cuts --attempts $(ATTEMPTS)
	$(BIN)/python -m tests.acceptance.fairness
	OCTOHOOKS_TESTS_MESSAGES=10000 $(BIN)/python -m pytest tests/acceptance/test_shared_database.py

bench: install ## measure speed and cost; choose with ARGS="--scenario unary" or ARGS=--all
	$(BIN)/python -m benchmarks $(ARGS)

docs: install ## build the documents as a site into build/docs
	$(BIN)/python -m tools.build_docs build/docs

check: install ## run every check that a change has to pass, the tests last
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/python tools/check_breaking_changes.py
	$(BIN)/python tools/generate_protos.py --check
# Where there is no npm the TypeScript SDK goes unchecked, but never in CI.
	@if command -v npm >/dev/null || test -n "$$CI"; then $(MAKE) --no-print-directory typescript; \
		else echo "npm is not installed: the TypeScript SDK is not checked"; fi
	$(BIN)/python -m tools.build_docs build/docs
	@$(MAKE) --no-print-directory test

# Freshness of the generated code, and types; `make test` runs the tests.
typescript: install $(TYPESCRIPT_INSTALLED)
	$(BIN)/python tools/generate_typescript.py --check
	npm --prefix $(TYPESCRIPT) run --silent check

$(TYPESCRIPT_INSTALLED): $(TYPESCRIPT)/package-lock.json
	npm --prefix $(TYPESCRIPT) ci --no-audit --no-fund
	@touch $@

format: install ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format
	$(BIN)/buf format --write

protos: install ## generate the code of the SDKs from the protos
	$(BIN)/python tools/generate_protos.py
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(TYPESCRIPT_INSTALLED) && \
		$(BIN)/python tools/generate_typescript.py; else echo "npm is not installed: no TypeScript is generated"; fi

# uv has an environment of its own, so that a lock that no longer installs can still be replaced.
lock: ## rewrite the lock files; newer versions with ARGS=--upgrade
	@$(PYTHON) -m venv build/lock
	@build/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		--output-file requirements.lock $(ARGS) pyproject.toml
	build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --extra server --extra otel --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		--constraint requirements.lock --output-file deploy/requirements.lock pyproject.toml

clean: ## remove the environment and everything that is built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	rm -rf $(TYPESCRIPT)/node_modules $(TYPESCRIPT)/dist $(TYPESCRIPT)/build
	find sdk server examples tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
