# Every target sets up what it needs and says so; where all is present that takes a moment and no network.
#   make demo     boot Debian, and run a container           make test     all checks and tests
#   make lint     ruff, mypy, the order of the rooms         make bench    side by side with QEMU
#   make test-kvm  our machines on a real KVM, inside QEMU: a part of make test
#   make conformance [COUNT=10000000] [SEED=N]               random programs on our processor and on Spike, in lock-step
#   make acceptance  the docker client against our daemon, expectations taken from dockerd
#   make clean    forget the virtual environment and caches  PYTHON=python3.12 chooses another Python

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell command -v $(name) >/dev/null 2>&1 && $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))) python3)
BIN := .venv/bin
COUNT ?= 10000000

.PHONY: demo test test-kvm acceptance lint bench conformance clean setup-demo setup-test setup-bench

demo: setup-demo
	@echo "Booting Debian in a machine made of Python, to run tools/demo-inside.sh there"
	@$(BIN)/gasang run --vm debian:trixie -- sh -c "$$(cat tools/demo-inside.sh)"
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh tools/demo-container.sh

test: lint
	@$(BIN)/python tools/tests.py

# On a KVM that is real wherever this runs: AMD-V as QEMU's TCG has it. What it boots is fetched once.
test-kvm: setup-test
	@$(BIN)/python -m pytest -q tests/nested

# Takes a network namespace for itself, so it is a run of its own; needs root and a docker client.
acceptance: setup-test
	@$(BIN)/python -m pytest -q tests/e2e/docker

lint: setup-test
	@echo "ruff …"
	@$(BIN)/ruff check
	@echo "mypy …"
	@$(BIN)/mypy
	@echo "import-linter …"
	@$(BIN)/lint-imports

bench: setup-bench
	@$(BIN)/python bench/vm.py all

conformance: setup-test
	@PYTHONPATH=src:tests $(BIN)/python -m support.lockstep --count $(COUNT) $(if $(SEED),--seed $(SEED))

setup-demo setup-test setup-bench: setup-%:
	@$(PYTHON) tools/setup.py $*

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
