# The front door. Works in a fresh clone, as root and as a user who may sudo, on Debian 12 and Ubuntu 22.04 or newer.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

BIN := .venv/bin
READY := .venv/.ready
# Tests run side by side, one worker a processor; tests/conftest.py says which stay together.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4
TESTS := $(wildcard $(addprefix tests/,unit properties golden))
DEMO_STEPS := --run 'systemctl is-system-running --wait || true' --run 'id; uname -r; df -h /' \
	--run 'sudo journalctl -b --no-pager -o cat -t first-boot' --run 'systemctl --failed --no-legend --plain'
# Wheels whose files tests read, and their source archives, which have tests of their own. They are not installed:
# diskimage-builder has a program disk-image-create, too.
TEST_INPUTS := diskimage-builder==3.43.0
# Compiled modules, of tests too, stay out of the tree: compiling dibo takes twice the time of a short command.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.make/pycache

.PHONY: help setup setup-check setup-test lint format check cover test-one test test-long docs demo bench fuzz shake clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## install what is missing to build and to boot: packages, subordinate ids, dibo itself into .venv
	@tools/setup
	@$(MAKE) --no-print-directory --silent $(READY)

setup-check:
	@tools/setup check
	@$(MAKE) --no-print-directory --silent $(READY)

# As root also an ordinary user, as whom tests build.
setup-test:
	@tools/setup test
	@$(MAKE) --no-print-directory --silent $(READY)

$(READY): pyproject.toml
	python=$$(tools/python) && umask 022 && "$$python" -m venv --clear .venv
	umask 022 && $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	for form in only no; do $(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps \
		--$$form-binary diskimage-builder --dest .venv/test-inputs $(TEST_INPUTS); done
	touch $@

lint: setup-check ## formatting, lint and types, of Python and of shell scripts; words that are misspelt or not used
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	tools/shell-scripts | xargs shellcheck
	$(BIN)/codespell

format: setup-check ## format Python files, and sort imports
	$(BIN)/ruff check --select I --fix
	$(BIN)/ruff format

test-one: setup-check ## run the tests that T names: make test-one T=tests/unit/layout, or T='tests/unit -k gpt'
	$(PYTEST) -n 0 $(T)

check: lint ## lint, and the tests that take milliseconds, in less than a minute
	$(PYTEST) -q -m 'not slow' $(TESTS)

test: setup-test lint ## every test but long ones: those, then with real parts, then booting images in QEMU
	$(PYTEST) $(TESTS)
	$(PYTEST) -m 'not long' --dist loadgroup --no-loadscope-reorder tests/boot tests/integration

test-long: setup-test ## the tests that repeat in another way what others show (CI: a file of them a day); T names some
	$(PYTEST) -m long --dist loadgroup --no-loadscope-reorder $(or $(T),tests/boot tests/integration)

cover: setup-check ## lines and branches that unit tests reach, child processes included; T names other tests
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -q -n auto --maxprocesses 4 $(or $(T),tests/unit)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --skip-empty

docs: setup ## build the documentation as a site, site/index.html, and check its links
	$(BIN)/python tools/docs-site

demo: setup ## build a flavour on Debian into demo.qcow2, boot it in QEMU, show the login and the first boot
	$(BIN)/disk-image-create -o demo --base debian --flavours-path examples vm web-server
	$(BIN)/dibo boot --verbose --name demo --timeout 1200 $(DEMO_STEPS) demo.qcow2

bench: setup ## measure dibo beside other ways of doing the same: bench/README.md
	@for script in bench/[a-z]*.py; do echo "==> $$script"; $(BIN)/python "$$script"; done

fuzz: setup ## break layers at random for FUZZ_MINUTES (10): tests/fuzz
	$(BIN)/python -m tests.fuzz

shake: setup-test ## kill, fill disks, break registries and inputs at random for SHAKE_SECONDS (120): tests/shake
	$(BIN)/python -m tests.shake

clean: ## remove what make made here; layers and dibo's cache stay
	rm -rf .venv .make site .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist .coverage .coverage.* demo.qcow2 demo.qcow2.sha256 demo.manifest.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
