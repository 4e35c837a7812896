# A verb for each thing that a person does; CI runs the same ones.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
OTHER_PYTHONS := 3.12 3.13
# Where Debian has nginx and haproxy, which an ordinary user's PATH leaves out.
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: help quick serve install tools check docs site format test test-here test-others bench bench-router bench-dispatch bench-events bench-instructions bench-metrics bench-memory bench-idle bench-idle-workers bench-growth bench-soak bench-reloads bench-start chaos events-chaos exactness fuzz hostile latency loadtest soak clean

help:  ## show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | column -t -s "$$(printf '\t')"

$(VENV)/.runtime: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,loadtest,docs]'
	@touch $@

install: $(VENV)/.dev  ## make the virtual environment with everything in it

serve: $(VENV)/.runtime  ## run examples/http_web.py on 8 workers
	@echo "Browser:    http://127.0.0.1:8000/user/Bob"
	@echo "Status:     http://127.0.0.1:9464/"
	@echo "Prometheus: http://127.0.0.1:9464/metrics"
	@echo "Ctrl-C ends it."
	@cd examples && exec ../$(BIN)/tiny-listener --workers 8 http_web:app

tools:  ## install the programs that tests and benchmarks run (Debian, as root)
	@deploy/install-tools

check: $(VENV)/.dev  ## ruff, its formatter, mypy --strict, the docs and their links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

docs: $(VENV)/.dev  ## write what the docs show of tables in the code
	$(BIN)/python docs/generate.py

site: $(VENV)/.dev  ## build the documentation as a site, into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

format: $(VENV)/.dev  ## let ruff fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Tests wait for processes more than they compute: one process more than there are cores runs them.
TEST_PROCESSES ?= $(shell echo $$(($$(nproc 2>/dev/null || echo 2) + 1)))
export PYTEST_ADDOPTS := --numprocesses=$(TEST_PROCESSES) --dist=loadfile

test: tools $(VENV)/.dev test-here test-others  ## all tests, here and on the other Pythons that are installed

quick: $(VENV)/.dev  ## unit tests on one Python, for while you write
	$(BIN)/pytest -q -n auto -m 'not e2e' tests/core tests/process tests/net tests/router tests/metrics tests/supervisor tests/docs tests/test_layers.py

test-here: $(VENV)/.dev
	$(BIN)/pytest

test-others: $(VENV)/.dev
	@for version in $(OTHER_PYTHONS); do PYTHON_VERSION=$$version tests/on-python || exit 1; done

SECONDS := 60
fuzz: $(VENV)/.dev  ## look for bytes that the server reads in two ways, for SECONDS=60
	@mkdir -p .fuzz
	$(BIN)/python -m tests.http.coverage_guided .fuzz -max_total_time=$(SECONDS) -timeout=20

bench: tools $(VENV)/.dev  ## requests/s against the floor, in one run
	$(BIN)/python loadtest/bench_http.py

latency: tools $(VENV)/.dev  ## latency at 30, 60 and 90 % of the most that a server does, from an open loop
	$(BIN)/python loadtest/latency.py

bench-router: $(VENV)/.dev  ## what a match costs, from 10 to 10,000 routes
	$(BIN)/python loadtest/bench_router.py

bench-dispatch: $(VENV)/.dev  ## what it costs to hand an event to its handler, next to create_task
	$(BIN)/python loadtest/bench_dispatch.py

bench-events: $(VENV)/.dev  ## what a published event costs, and what it waits for
	$(BIN)/python loadtest/bench_events.py

bench-instructions: tools $(VENV)/.dev  ## how many instructions a request costs, counted by callgrind; BEFORE=TREE for another checkout too
	$(BIN)/python loadtest/bench_instructions.py $(if $(BEFORE),--before $(BEFORE))

bench-metrics: tools $(VENV)/.dev  ## what an observation, a scrape and metrics at all cost
	$(BIN)/python loadtest/bench_metrics.py
	$(BIN)/python loadtest/bench_kill_in_scrape.py

bench-memory: $(VENV)/.dev  ## memory over 1,000,000 events
	$(BIN)/python loadtest/bench_memory.py

bench-idle: $(VENV)/.dev  ## memory of an idle connection, of 10,000
	$(BIN)/python loadtest/bench_idle.py

bench-idle-workers: $(VENV)/.dev  ## processor time of 128 workers that nobody asks
	$(BIN)/python loadtest/bench_idle_workers.py

bench-growth: tools $(VENV)/.dev  ## how the cost of a request grows with connections, bodies and workers
	$(BIN)/python loadtest/bench_growth.py

bench-soak: tools $(VENV)/.dev  ## memory over 10,000,000 requests
	$(BIN)/python loadtest/bench_soak.py

bench-reloads: $(VENV)/.dev  ## what 1,000 reloads leave in the supervisor
	$(BIN)/python loadtest/bench_reloads.py

bench-start: $(VENV)/.dev  ## how soon 8 workers are ready, and their memory
	$(BIN)/python loadtest/bench_start.py

chaos: $(VENV)/.dev  ## what clients notice while workers are replaced, killed, recycled, and become more and fewer
	$(BIN)/python loadtest/chaos.py
	$(BIN)/python loadtest/chaos_crowd.py

EVENTS := 100000
KILLS := 100
events-chaos: $(VENV)/.dev  ## the order of keyed events while processes are killed, reloaded and scaled, for EVENTS=100000 KILLS=100
	for store in sqlite full memory; do for keys in "--keys 200" "--keys 20000 --skew 1"; do \
		$(BIN)/python loadtest/events_chaos.py --store $$store $$keys --events $(EVENTS) --kills $(KILLS) || exit 1; \
	done; done
	$(BIN)/python loadtest/events_chaos.py --events 20000 --kills 20 --stops 3
	$(BIN)/python loadtest/events_chaos.py --events 20000 --kills 20 --small-disk
	for nodes in 1 3; do for keys in "--keys 200" "--keys 20000 --skew 1"; do \
		$(BIN)/python loadtest/events_chaos.py --store nats --nodes $$nodes $$keys --period 1 --stops 1 \
			--events $$(($(EVENTS) / 5)) --kills $$(($(KILLS) / 5)) || exit 1; \
	done; done

exactness: tools $(VENV)/.dev  ## whether counters are what clients saw, over 100,000 requests and kills, reloads, recycling
	$(BIN)/python loadtest/exactness.py

hostile: $(VENV)/.dev  ## innocent clients among hostile ones, on each kind of server: whether they notice
	$(BIN)/python loadtest/hostile.py

loadtest: $(VENV)/.dev  ## a minute of load on a server of its own, by locust: all scenarios, and whether they are good enough
	$(BIN)/python loadtest/run.py

MINUTES := 30
soak: $(VENV)/.dev  ## the same for MINUTES=30, and whether the server grows
	$(BIN)/python loadtest/run.py --shape soak --seconds $$(($(MINUTES) * 60))

clean:  ## remove what was made here
	rm -rf $(VENV) .venv-3.* .mypy_cache .pytest_cache .ruff_cache .hypothesis loadtest/results
