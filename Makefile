# Every target sets up .venv first; that takes no time when it is up to date.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python

# What `make demo` runs on: parts (drawn here, no network needed) or bccd (real images, downloaded).
DATASET ?= parts
# More arguments for demo, test, bench and lab, e.g. make test ARGS='tests/unit/detection -x'
ARGS ?=

.PHONY: help setup demo test lint bench lab notebooks clean

help: ## Show this list
	@echo "make TARGET, where TARGET is one of:"
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' Makefile

setup: ## Make .venv with the locked packages and check the system packages
	@bash scripts/setup.sh

demo: setup ## Take a YOLO from data to verified INT8 engine, then grade a sample class (DATASET=parts or bccd)
	@$(PYTHON) -m yolotrt_lab.cli.main demo --dataset "$(DATASET)" $(ARGS)
	@$(PYTHON) -m yolotrt_lab.cli.main course sample-class lab1 --output runs/class

test: setup ## Run the tests with coverage, on all cores
	@$(PYTHON) -m pytest -n logical --dist loadgroup --cov --cov-report=term:skip-covered $(ARGS)

lint: setup ## Check style, types and that no notebook holds outputs
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@$(PYTHON) scripts/check_notebooks.py

bench: setup ## Run the benchmarks of benchmarks/
	@set -e; for file in benchmarks/*.py; do \
	  if [ ! -e "$$file" ]; then echo "There are no benchmarks yet."; break; fi; \
	  echo "== $$file"; $(PYTHON) "$$file" $(ARGS); \
	done

lab: setup ## Open JupyterLab on the labs
	@JUPYTER_CONFIG_PATH="$(CURDIR)/course/jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
	  $(PYTHON) -m jupyterlab --LabApp.default_url=/lab/tree/labs $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

notebooks: setup ## Build solutions/ and labs/ from the scripts in course/notebooks
	@$(PYTHON) scripts/build_notebooks.py

clean: ## Remove caches and build output; keep .venv, datasets and runs
	@rm -rf build dist *.egg-info .coverage .coverage.* htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
