# make demo         sets everything up, then scores, tunes and scores again the bundled model on the bundled data
# make test         sets everything up, then checks style and types and runs the essential tests
# make test-all     the same with all tests
# make test-nightly the slow tests alone
# make test-newest  the same with the newest releases that pyproject.toml allows, in an environment of its own
# make test-oldest  the essential tests with the smallest releases that it allows, but for torch
# make fuzz         an hour of inputs made by hypothesis; those that fail are kept in .hypothesis
# make audit        asks the network for advisories on what constraints.txt holds
# make licences     writes docs/licences.md anew
# make docs         builds the documentation's site into build/site, in an environment of its own
# make lock         writes the releases of that environment into constraints.txt
PYTHON ?= python3
VENV ?= .venv
LOCK ?= constraints.txt
READY = $(VENV)/.ready
NEWEST = .venv-newest
OLDEST = .venv-oldest
AUDIT = .venv-audit
DOCS = .venv-docs

# The one release that never follows the newest: later ones may be at hand with CUDA only, which is
# gigabytes that a CPU has no use for.
TORCH = torch==2.13.0

# Of all tests, those that this expression of pytest selects by their markers.
MARKED ?=

# pip builds packages in environments of their own, which take constraints from these variables alone:
# the first up to pip 25.2, the second from 25.3 on.
LOCKED = $(if $(LOCK),PIP_CONSTRAINT=$(LOCK) PIP_BUILD_CONSTRAINT=$(LOCK))
PYTEST = OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal

.PHONY: audit demo docs fuzz licences lint lock test test-all test-nightly test-newest test-oldest tests
demo: $(READY)
	$(VENV)/bin/ft-harness demo

# mkdocs reads docstrings without importing anything: the package itself isn't needed there.
docs: $(READY) $(DOCS)/.ready
	$(VENV)/bin/python tools/docs_site.py build/docs
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet

$(DOCS)/.ready: pyproject.toml
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install --quiet $$($(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])')
	@touch $@

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

tests: $(READY)
	$(PYTEST) $(if $(MARKED),-m '$(MARKED)')

# mypy has one core for a minute, and tests the others.
BOTH = $(MAKE) --jobs 2 lint tests

test: $(READY)
	$(BOTH) MARKED='not slow'

test-all: $(READY)
	$(BOTH)

test-nightly: $(READY)
	$(BOTH) MARKED=slow

test-newest:
	rm -rf $(NEWEST)
	$(MAKE) VENV=$(NEWEST) LOCK= test-all

# Packages that only others need, and development's own tools, are the newest: style and types are
# not looked at.
test-oldest:
	rm -rf $(OLDEST)
	mkdir $(OLDEST)
	$(PYTHON) tools/lower_bounds.py >$(OLDEST)/bounds
	$(MAKE) VENV=$(OLDEST) LOCK=$(OLDEST)/bounds $(OLDEST)/.ready
	$(MAKE) VENV=$(OLDEST) LOCK=$(OLDEST)/bounds MARKED='not slow' tests

fuzz: $(READY)
	FT_HARNESS_FUZZ=hour $(PYTEST) tests/fuzz tests/battery/test_two_processes.py

# Where advisories can't be reached pip-audit says so, and make fails.
audit:
	test -d $(AUDIT) || $(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/pip install --quiet pip-audit
	$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

licences: $(READY)
	$(VENV)/bin/python tools/licences.py >docs/licences.md

# pip itself comes with Python, and a build of torch ("+cpu") with the index.
lock:
	rm -rf $(NEWEST)
	$(MAKE) VENV=$(NEWEST) LOCK= $(NEWEST)/.ready
	$(NEWEST)/bin/pip list --format=freeze --exclude-editable --exclude pip >$(NEWEST)/releases
	{ echo '# Written by `make lock`: all that the Makefile installs. Users get what pyproject.toml allows.'; \
	  sed 's/+.*//' $(NEWEST)/releases; } >constraints.txt

$(READY): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(LOCKED) $(VENV)/bin/pip install --quiet --editable '.[dev]' $(TORCH)
	@touch $(READY)
