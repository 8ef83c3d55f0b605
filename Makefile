# Everything a newcomer needs: `make run`, `make test`. PYTHON picks the interpreter (3.11 or newer).
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run test coverage long clients proxies engines servers lint bench chaos fuzz attack package lock audit sbom clean

help:  ## What can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

run: $(VENV)/.run  ## Start the whole stack: Redis, gunicorn, nginx
	@exec $(BIN)/python -m pushsvc up

test: $(VENV)/.test  ## Run the whole suite on real parts
	@$(BIN)/python tests/support/programs.py
	@# Half of it is waiting: six at a time keep two cores busy, with the coverage four. It starts hundreds of processes,
	@# which need not compile what they load each time.
	@$(if $(COVERAGE),$(BIN)/coverage erase)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/$(if $(COVERAGE),coverage run,python) -m pytest \
		-n $(if $(COVERAGE),4,6) --dist loadfile --no-loadscope-reorder $(ARGS) $(if $(COVERAGE),$(REPORT))

# In processes and greenlets, but for what tests of faults and of browsers start (`without_coverage`): that would
# take long. What a test kills with SIGKILL cannot say what it ran.
REPORT = ; status=$$?; $(BIN)/coverage combine --quiet && $(BIN)/coverage report; exit $$status

coverage:  ## Run the suite and print the branch coverage, and the lines that no test reaches
	@$(MAKE) --no-print-directory test COVERAGE=1

long: $(VENV)/.test  ## Run the proofs in full of which the suite has a part
	@$(BIN)/python tests/support/programs.py
	@$(BIN)/python -m pytest -m long -n 2 $(ARGS)

clients: $(VENV)/.test  ## Run browsers and other people's libraries through every fault (docs/clients.md)
	@$(BIN)/python -m clients.install
	@$(BIN)/python -m pytest clients -n 4 --dist loadfile --no-loadscope-reorder --timeout 300 $(ARGS)

proxies: $(VENV)/.test  ## Put other proxies before the service, as they come and as docs/proxies.md has them
	@$(BIN)/python -m proxies.install
	@$(BIN)/python -m pytest proxies -n 4 --timeout 600 $(ARGS)

engines: $(VENV)/.test  ## Put model engines behind the service (docs/engines.md)
	@$(BIN)/python -m engines.install
	@$(BIN)/python -m pytest engines --timeout 600 -rA $(ARGS)

servers: $(VENV)/.test  ## Run the same behaviour with every Redis that is tested (docs/redis.md)
	@$(BIN)/python tests/support/programs.py
	@$(BIN)/python -m tests.support.redis.matrix
	@PUSHSVC_TEST_ALL_SERVERS=1 $(BIN)/python -m pytest -p tests.support.redis.matrix -n 2 --dist loadfile \
		tests/faults/redis/test_other_redis.py tests/faults/failover/test_cluster.py tests/faults/redis/test_redis_rights.py tests/faults/redis/test_redis_checks.py $(ARGS)

lint: $(VENV)/.test  ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.bench  ## Measure the service against the least the kernel can do (bench/README.md)
	@$(BIN)/python -m bench $(ARGS)

chaos: $(VENV)/.test  ## Break everything under traffic; see that nobody misses an event (docs/chaos.md)
	@$(BIN)/python -m chaos $(ARGS)
	@$(if $(ARGS),,$(BIN)/python -m chaos.away)

fuzz: $(VENV)/.test  ## Send mutated requests to nginx and to a worker (make fuzz ARGS="--seconds 600 --seed 7")
	@$(BIN)/python -m tests.proofs.fuzz $(ARGS)
	@$(if $(ARGS),,$(BIN)/python -m tests.proofs.fuzz_calls)
	@$(if $(ARGS),,$(BIN)/python -m tests.proofs.schema)
	@$(if $(ARGS),,$(BIN)/python -m pytest -m hypothesis --hypothesis-profile searching -n 2 --timeout 3600)

attack: $(VENV)/.test  ## Measure what cheap requests cost others (make attack ARGS="--seconds 6 bodies")
	@$(BIN)/python -m tests.proofs.cost $(ARGS)

package: $(VENV)/.test  ## Build wheel and sdist into dist/, and try them in empty environments (from the package index)
	@rm -rf dist && $(BIN)/python -m hatchling build -d dist
	@$(BIN)/python -m tests.proofs.clients.package dist

lock: $(VENV)/.supply  ## Write requirements.lock anew: each package that the service needs, with its hashes
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
		--custom-compile-command "make lock" --output-file requirements.lock requirements.txt

audit: $(VENV)/.supply  ## Ask whether a package of requirements.lock is known to be vulnerable
	@$(BIN)/python -m tests.proofs.audit

sbom: $(VENV)/.supply  ## Write a software bill of materials of requirements.lock (CycloneDX): sbom.json
	@$(BIN)/cyclonedx-py requirements requirements.lock --output-format JSON --output-file sbom.json

clean:  ## Remove what was made, except data
	rm -rf $(VENV) clients/.venv clients/node_modules proxies/.venv proxies/node_modules engines/.venv bench/subjects/better_sse/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*

# A venv made by another Python is made anew.
$(VENV)/.python: FORCE
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "pushsvc needs Python 3.11 or newer; try make PYTHON=python3.13"; exit 1; }
	@version=$$($(PYTHON) -c 'import sys; print(sys.version)'); \
	if [ "$$version" != "$$(cat $@ 2>/dev/null)" ]; then \
		$(PYTHON) -m venv --clear $(VENV) && echo "$$version" > $@; \
	fi
FORCE:

$(VENV)/.run: requirements.txt $(VENV)/.python
	@$(BIN)/python -m pushsvc.stack.wheels requirements.txt
	@touch $@

$(VENV)/.test: requirements-dev.txt requirements.txt $(VENV)/.python
	@$(BIN)/python -m pushsvc.stack.wheels requirements-dev.txt
	@touch $@ $(VENV)/.run

$(VENV)/.supply: requirements-supply.txt requirements.lock $(VENV)/.test
	@$(BIN)/python -m pushsvc.stack.wheels requirements-supply.txt
	@touch $@

$(VENV)/.bench: requirements-bench.txt requirements.txt $(VENV)/.python
	@$(BIN)/python -m pushsvc.stack.wheels requirements-bench.txt
	@touch $@ $(VENV)/.run
