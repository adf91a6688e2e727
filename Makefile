# Every target makes .venv and installs what it needs first; nothing is repeated when nothing changed.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint scripts/constraints.txt --editable
# Three tests at a time: half of their time is waiting. Processes of one test may use all cores.
# With --jobs=2 what waits runs beside what computes: lint or programs with tests, SGLang with Ray.
IN_PARALLEL := --numprocesses 3 --dist worksteal

# The tests start hundreds of processes, which must not compile our code again each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo install test test-clients test-sglang test-ray sglang-env programs check lint \
	test-fast format bench tiny clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: .venv/installed ## start controller, models and page; also with FLAGS="--web-port 7861"
	$(BIN)/python -m llava_serve.launch $(FLAGS)

install: .venv/installed ## make .venv with all that serving needs, and start nothing

test: check sglang-env programs ## run every test: those of `make check`, then those with models, processes, a browser and SGLang
	$(BIN)/python -m pytest -m "slow and not alone and not ray and not sglang and not clients" $(IN_PARALLEL)
	@$(MAKE) --no-print-directory test-sglang test-ray
	$(BIN)/python -m pytest -m alone tests/e2e

programs: .venv/installed-dev # Chromium, Redis, promtool, systemd-analyze and the clients of npm
	bash scripts/get_chromium.sh $(BIN)/python
	bash scripts/get_services.sh
	bash scripts/get_npm_clients.sh $(BIN)/python

test-sglang: .venv/installed-dev sglang-env ## run the tests against a real SGLang server, without a GPU
	$(BIN)/python -m pytest -m sglang tests/sglang

test-ray: .venv/installed-dev ## run the tests that place replicas on a real Ray cluster
	$(BIN)/python -m pytest -m ray tests/launching

test-clients: .venv/installed-dev ## run clients of other people, unmodified, in environments of their own; CI has no time for it
	bash scripts/clients_env.sh $(PYTHON)
	bash scripts/get_npm_clients.sh $(BIN)/python
	$(BIN)/python -m pytest -m clients tests/clients

sglang-env:
	bash scripts/sglang_env.sh $(PYTHON)

check: lint test-fast ## format, lint, types and the fast tests

lint: .venv/installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

test-fast: .venv/installed-dev
	$(BIN)/python -m pytest -m "not slow" $(IN_PARALLEL)

format: .venv/installed-dev ## rewrite the code in the house format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: .venv/installed-dev ## measure speed beside other ways to serve, and what users feel; twenty minutes or more
	$(BIN)/python -m scripts.bench_throughput
	$(BIN)/python -m scripts.bench_latency
	$(BIN)/python -m scripts.bench_grammar
	-bash scripts/proxies_env.sh $(PYTHON)
	$(BIN)/python -m scripts.bench_controller
	$(BIN)/python -m scripts.bench_routing
	$(BIN)/python -m scripts.bench_batches
	bash scripts/get_chromium.sh $(BIN)/python
	$(BIN)/python -m scripts.bench_page

tiny: .venv/installed-dev ## train the checkpoint that ships, its adapter and its examples
	$(BIN)/python -m scripts.tiny.train

clean: ## remove the environments and what the tools made; .runs, with hours of training, stays
	rm -rf .venv .venv-npm .venv-sglang .venv-litellm .venv-sglang-router .venv-client-* build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3 ..."; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "This Python cannot make environments. On Debian: apt-get install python3-venv"; exit 1; }

.venv/installed: .venv/bin/python setup.cfg pyproject.toml scripts/constraints.txt
	@echo "Installing into .venv; the first time takes a few minutes ..."
	$(INSTALL) .
	@touch $@

.venv/installed-dev: .venv/installed
	$(INSTALL) ".[dev]"
	@touch $@
