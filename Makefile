# Everything here sets up what it needs: a virtual environment in .venv with the exact versions of
# constraints.txt, made once and again when pyproject.toml or constraints.txt change.
# PYTHON=... chooses the Python it is made with; ARGS=... is passed on.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test up down lint properties faults bench bench-all bench-quick docs wheel clean
.DELETE_ON_ERROR:

BIN := .venv/bin
DECLARED := pyproject.toml constraints.txt
RUN_READY := .venv/.ready-to-run
TEST_READY := .venv/.ready-to-test
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=constraints.txt \
  PIP_BUILD_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet
NOT_INSTALLED := echo "Not installed: pip needs a network, or a mirror in its configuration." >&2; \
  exit 1

# A virtual environment whose Python went away, or that was made in another folder, is made anew.
$(shell [ -x $(BIN)/python ] && [ "$$(cat .venv/.made-in 2>/dev/null)" = "$(CURDIR)" ] \
  || rm -f .venv/.made-in $(RUN_READY) $(TEST_READY))

help: ## Explain the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUN_READY) ## Govern a manufacturer's events on a real Kafka and compare before and after
	@$(BIN)/milepost demo $(ARGS)

test: lint ## Run every check: lint first, then all tests (ARGS="-m 'not kafka'" chooses; WORKERS=3 runs three files at a time)
	@$(BIN)/python -m pytest -n $${WORKERS:-0} --dist loadfile --no-loadscope-reorder $(ARGS)

up: $(RUN_READY) ## Start the whole stack with a trickle of simulated traffic; Ctrl-C ends it
	@$(BIN)/milepost up $(ARGS)

down: $(RUN_READY) ## Stop the stack (ARGS=--wipe also removes its data)
	@$(BIN)/milepost down $(ARGS)

lint: $(TEST_READY) ## Run ruff, mypy and the import contracts; name all that failed
	@failed=; check() { \
	  echo "checking: $$1"; shift; \
	  "$$@" > .venv/check.log 2>&1 || { cat .venv/check.log; failed="$$failed [$${*#$(BIN)/}]"; }; }; \
	check style $(BIN)/ruff check --quiet .; \
	check format $(BIN)/ruff format --quiet --check .; \
	check types $(BIN)/mypy; \
	check imports $(BIN)/lint-imports; \
	if cargo clippy --version > /dev/null 2>&1; then \
	  check rust cargo clippy --quiet --release --manifest-path native/Cargo.toml -- -D warnings; \
	fi; \
	[ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }

properties: $(TEST_READY) ## Run the property tests at length, again with fresh seeds until MINUTES (10) are over
	@start=$$(date +%s); seed=$$start; runs=0; \
	while [ $$seed -lt $$((start + 60 * $${MINUTES:-10})) ]; do \
	  runs=$$((runs + 1)); \
	  echo "run $$runs, seed $$seed, after $$(((seed - start) / 60)) minutes"; \
	  $(BIN)/python -m pytest -m hypothesis --hypothesis-profile=long --hypothesis-seed=$$seed \
	    --timeout=0 $(ARGS) || { echo "run $$runs, seed $$seed: failed"; exit 1; }; \
	  seed=$$(date +%s); \
	done; echo "$$runs runs without a failure, $$(((seed - start) / 60)) minutes"

faults: $(TEST_READY) ## Kill, cut and spoil everything for MINUTES (60) and prove that nothing was lost; then find a Kafka 4.4.0 out
	@failed=0; $(BIN)/python tests/faults/campaign.py --minutes $${MINUTES:-60} $(ARGS) || failed=1; \
	$(if $(ARGS),,$(BIN)/python -m pytest -q -s -m slow tests/faults/test_lost_markers.py || failed=1;) \
	exit $$failed

bench: $(TEST_READY) ## Measure Milepost and its peers in turn, write docs/performance.md (an hour; ARGS=--quick)
	@$(BIN)/python -m benchmarks.compare $(ARGS)

bench-all: bench ## Measure everything: the peers, then entities, partitions, restart, pauses, workers, a load step (two hours)
	@for name in entities partitions restart pauses workers load_step report; do \
	  echo "benchmarks.$$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done

bench-quick: $(TEST_READY) ## Compare CPU per event with the committed ratios (less than three minutes)
	@$(BIN)/python -m benchmarks.quick $(ARGS)

docs: $(RUN_READY) ## Write docs/reference/ anew from code and policy
	@$(BIN)/python -m pipeline.cli.reference $(ARGS)

wheel: $(TEST_READY) ## Build the wheel into dist/
	@$(BIN)/python -m hatchling build --target wheel

clean: ## Remove the virtual environment and everything built (not .milepost/: milepost down --wipe)
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/.made-in:
	@names="$${PYTHON:-python3 python3.13 python3.12 python3.11}"; python=; \
	for name in $$names; do \
	  "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    && { python=$$name; break; }; \
	done; \
	[ -n "$$python" ] || { \
	  echo "Milepost needs Python 3.11 or newer, and none is found as: $$names."; \
	  echo "Install one, or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; \
	  exit 1; } >&2; \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$$python can't make virtual environments: its venv package is missing."; \
	  echo "On Debian and Ubuntu: apt-get install python3-venv"; exit 1; } >&2; \
	echo "Making a virtual environment in .venv with $$($$python --version)"; \
	rm -rf .venv && "$$python" -m venv .venv && echo "$(CURDIR)" > $@

$(RUN_READY): .venv/.made-in $(DECLARED)
	@echo "Installing what Milepost needs to run (about 65 MB, once)"
	@$(PIP) --editable . || { $(NOT_INSTALLED); }
	@touch $@

$(TEST_READY): .venv/.made-in $(DECLARED)
	@echo "Installing what Milepost and its tests need (about 110 MB, once)"
	@$(PIP) --editable '.[test]' || { $(NOT_INSTALLED); }
	@touch $@ $(RUN_READY)
