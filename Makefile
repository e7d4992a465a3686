# Two commands on a fresh machine do everything: `make demo` and `make test`.
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
RUN := $(VENV)/bin/python -m
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test check format-check lint types imports test-all format

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

install: $(STAMP) ## Create .venv and install the package with the pinned versions, once

# The model zoos that the tests go through, without what they require: torchvision asks for another
# build of torch, and what timm needs besides (huggingface_hub, pyyaml) comes with the lab.
ZOO := timm torchvision safetensors

# hatchling comes first, from the same pins, so that the build does not fetch a version of its own.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a few minutes on a fresh machine, most of them for torch)"
	@$(RUN) pip install --quiet -c constraints.txt hatchling editables
	@$(RUN) pip install --quiet -c constraints.txt --no-build-isolation -e '.[lab,dev]'
	@$(RUN) pip install --quiet -c constraints.txt --no-deps $(ZOO)
	@touch $@

demo: $(STAMP) ## Compare Pre-Warm with torch's default on real images (at most 3 minutes)
	$(VENV)/bin/warminit compare

test: $(STAMP) ## Run the tests, with the branch coverage of the core
	$(RUN) pytest -n $(WORKERS) --cov --cov-report=term

check: format-check lint types imports test ## Run format, lint, types, import direction and tests

format-check: $(STAMP)
	$(RUN) ruff format --check

lint: $(STAMP)
	$(RUN) ruff check

types: $(STAMP)
	$(RUN) mypy

imports: $(STAMP)
	$(VENV)/bin/lint-imports --no-logo

test-all: $(STAMP) ## Run the long tests too; writes docs/results/robustness.json
	$(RUN) pytest -n $(WORKERS) --run-full

format: $(STAMP) ## Format the code and mend what lint can mend
	$(RUN) ruff check --fix
	$(RUN) ruff format
