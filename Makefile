# The front door. `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Every script, by its first line.
SCRIPTS = $(shell git ls-files | while read -r f; do [ -f "$$f" ] && head -c 20 "$$f" | grep -qa '^\#!.*sh' && echo "$$f"; done)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help setup setup-test lint check test demo bench clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## install what dibo needs, and dibo itself into .venv
	@tools/setup
	@$(MAKE) --no-print-directory $(READY)

setup-test:
	@tools/setup test
	@$(MAKE) --no-print-directory $(READY)

$(READY): pyproject.toml
	"$$(tools/python)" -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/shellcheck $(SCRIPTS)

check: lint ## lint, types, unit, property and golden tests: under a minute
	$(BIN)/pytest -q tests/unit tests/golden

test: setup-test lint ## install what is missing, run every test tier
	$(BIN)/pytest tests

demo: setup ## build an image without root, boot it in QEMU, show the login and the marker of first boot
	$(BIN)/disk-image-create -o demo.qcow2 --base debian --flavours-path examples vm hello
	$(BIN)/python -m tests.support.demo demo.qcow2

bench: setup-test ## measure dibo beside other ways of doing the same
	$(BIN)/python bench/layers.py
	$(BIN)/python bench/cold_build.py

clean: ## remove what make made here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist demo.qcow2 demo.qcow2.sha256
	find . -name __pycache__ -type d -exec rm -rf {} +
