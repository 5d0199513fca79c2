# make demo   sets everything up, then scores, tunes and scores again the bundled model on the bundled data
# make test   sets everything up, then checks style and types and runs the tests
PYTHON ?= python3
VENV ?= .venv
READY = $(VENV)/.ready

.PHONY: demo test
demo: $(READY)
	$(VENV)/bin/ft-harness demo

test: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)
