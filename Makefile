# One environment of its own in .venv, with the versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo

.PHONY: demo test coverage lint docs constraints clean

demo: $(VENV)/.installed
	$(BIN)/cytocar demo $(DEMO)

test: $(VENV)/.tests
	$(BIN)/python -m pytest -n 2

# Least share of lines that the tests run; Python from 3.12 on counts them at hardly any cost.
COVERAGE ?= 95

coverage: $(VENV)/.tests
	COVERAGE_CORE=sysmon $(BIN)/python -m pytest -n 2 --cov --cov-report=term --cov-fail-under=$(COVERAGE)

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -W -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

# Needs uv. The versions that are pinned already stay where they still fit; UPGRADE=--upgrade takes the newest.
constraints:
	head -n 2 constraints.txt > constraints.new
	uv pip compile -q --universal --python-version 3.11 pyproject.toml --all-extras --no-header $(UPGRADE) -o constraints.txt
	cat constraints.txt >> constraints.new
	mv constraints.new constraints.txt

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.tests: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[test]"
	touch $@

$(VENV)/.lint: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[test,lint]"
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) demo docs/_build .pytest_cache .mypy_cache .ruff_cache
