# Two commands on a fresh machine do everything: `make demo` and `make test`.
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
RUN := $(VENV)/bin/python -m
STAMP := $(VENV)/.installed
# TORCH=2.6.0 or TORCH=newest checks with another torch; fresh checkouts only.
TORCH ?=
PINS := $(if $(TORCH),$(VENV)/constraints.txt,constraints.txt)
FRAMEWORKS := $(VENV)/.frameworks

# A cluster of three nodes needs the machine for itself.
RAY_TESTS := tests/lab/engines/test_ray.py tests/lab/engines/test_ray_faults.py
ON_RAY := @$(VENV)/bin/python -c "import ray" 2>/dev/null || { echo "Ray is not installed (make frameworks): its tests are skipped"; exit 0; }; $(RUN) pytest $(RAY_TESTS)

.DEFAULT_GOAL := help
.PHONY: help install frameworks demo test check format-check lint types imports docs dist bench audit test-all format notebooks gpu-dry

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

install: $(STAMP) ## Create .venv and install the package with the pinned versions, once

# The model zoos that the tests go through, without what they require: torchvision asks for another
# build of torch, and what timm needs besides (huggingface_hub, pyyaml) comes with the lab.
ZOO := timm torchvision

$(VENV)/constraints.txt: constraints.txt
	@mkdir -p $(VENV)
	@sed -E '/^(torch|torchvision|sympy)==/d' constraints.txt > $@
	@test $(TORCH) = newest || echo torch==$(TORCH) >> $@

# hatchling comes first, from the same pins, so that the build does not fetch a version of its own.
$(STAMP): pyproject.toml $(PINS)
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a few minutes on a fresh machine, most of them for torch)"
	@$(RUN) pip install --quiet -c $(PINS) hatchling editables
	@$(RUN) pip install --quiet -c $(PINS) --no-build-isolation -e '.[lab,dev]'
	@$(RUN) pip install --quiet -c $(PINS) --no-deps $(ZOO)
	@touch $@

frameworks: $(FRAMEWORKS) ## Install what the integrations, Ray and the benchmarks are tested with

$(FRAMEWORKS): $(STAMP)
	@echo "installing trainers, frameworks and Ray into $(VENV)"
	@$(RUN) pip install --quiet -c $(PINS) --no-build-isolation -e '.[lightning,transformers,keras,flax,ray,bench]'
	@$(RUN) pip install --quiet -c $(PINS) --no-deps segmentation-models-pytorch
	@touch $@

demo: $(STAMP) ## Compare four initializers on real images until it is decided (one to two minutes)
	$(VENV)/bin/warminit compare --until-decided --max-seeds 8 --steps 100

# A worker a core already: threads inside of them would wait for each other.
test test-all: export OMP_NUM_THREADS := 1
test: $(STAMP) ## Run the tests, with the branch coverage of the core
	$(RUN) pytest -n $(WORKERS) --dist loadgroup --cov --cov-report=term $(RAY_TESTS:%=--ignore=%)
	$(ON_RAY)

check: frameworks format-check lint types imports audit test gpu-dry docs ## Run format, lint, types, import direction, audit, tests, GPU dry run, docs

format-check: $(STAMP)
	$(RUN) ruff format --check

lint: $(STAMP)
	$(RUN) ruff check

types: $(STAMP)
	$(RUN) mypy

imports: $(STAMP)
	$(VENV)/bin/lint-imports --no-logo

# Digests of 64 figures are no secrets, nor are filters as base64 in results; no network is asked.
NO_SECRET := --exclude-secrets '^[0-9a-f]{64}$$' --exclude-lines '_WARMINIT_COMPLETE='

audit: $(STAMP) ## Look for known vulnerabilities of the pins, and for secrets in the tracked files
	$(VENV)/bin/python tools/audit_pins.py
	git ls-files -z | xargs -0 $(VENV)/bin/detect-secrets-hook --no-verify $(NO_SECRET)

docs: $(STAMP) ## Build the documentation site into site/, strictly
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict --quiet

# The time in the archives is that of the last commit: the same commit gives the same bytes.
dist: $(STAMP) ## Build wheel and sdist into dist/, the same bytes every time, and check them
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(RUN) hatchling build
	$(RUN) twine check --strict dist/*
	@for tag in $$(git tag --points-at HEAD --list 'v*'); do test -f dist/warminit-$${tag#v}.tar.gz || \
		{ echo "the tag $$tag names another version than pyproject.toml; move the one or the other"; exit 1; }; done

bench: $(FRAMEWORKS) ## Measure every speed target side by side; writes benchmarks/results/ and docs/performance.md
	$(RUN) benchmarks

gpu-dry: $(STAMP) ## Run the check for a GPU at toy size on the CPU
	PYTHON=$(VENV)/bin/python OUT=$(VENV)/gpu-dry bash tools/gpu_check.sh --dry

test-all: $(FRAMEWORKS) ## Run the long tests too; writes docs/results/robustness.json
	$(RUN) pytest -n $(WORKERS) --dist loadgroup --run-full $(RAY_TESTS:%=--ignore=%)
	$(ON_RAY) --run-full

format: $(STAMP) ## Format the code and mend what lint can mend
	$(RUN) ruff check --fix
	$(RUN) ruff format

notebooks: $(STAMP) ## Make the notebooks in examples/ from the scripts
	$(VENV)/bin/python tools/notebooks.py
