# Two commands set everything up: `make quickstart` and `make test`. Each installs what it needs into .venv,
# and so does `make docs`, which builds the documentation into docs/_build/html.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Where the survey images and labels are that the shipped weights were trained on.
MORPH_DATA ?= ../shared/data
export MORPH_DATA
# Tests run in so many processes, each of which computes by one thread.
TEST_PROCESSES ?= 2
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1

# The benchmarks of speed and endurance that run by themselves; the others ask for a model and datasets, for survey
# images, or for other servers. Each says at its top what it measures.
BENCHMARKS := catalogue client cutting explore fast_path forward kills scoring server sizing soak ten_million

.PHONY: quickstart test test-fast docs linkcheck lint types unit bench weights lock clean

quickstart: $(VENV)/installed
	$(BIN)/morph quickstart

test: lint types unit

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: $(VENV)/installed-test
	$(BIN)/mypy

unit: $(VENV)/installed-test
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder \
	  --doctest-modules tests morph training serving

# The tests that train, export and serve nothing: two minutes on two cores.
test-fast: $(VENV)/installed-test
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder -m "not slow"

# A warning is an error: a link that leads nowhere, a docstring that cannot be read.
docs: $(VENV)/installed-docs
	$(ONE_THREAD) $(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# The links within the documentation; those to other sites need a network, and are left out.
linkcheck: $(VENV)/installed-docs
	$(ONE_THREAD) $(BIN)/python -m sphinx -W --keep-going -b linkcheck -d docs/_build/html/.doctrees \
	  -D linkcheck_ignore='https?://' docs docs/_build/linkcheck

# One that misses what it promises ends with status 1; the others are run all the same.
bench: $(VENV)/installed-test
	failed=; for name in $(BENCHMARKS); do \
	  echo "== $$name"; $(BIN)/python benchmarks/$$name.py || failed="$$failed $$name"; \
	done; test -z "$$failed" || { echo "Failed, or less than promised:$$failed"; exit 1; }

# The weights that ship: import the data, simulate what its labels are thin on, train the large model and by its votes
# the small one, measure both, write the card. It resumes where it was interrupted (docs/how-to/weights.md).
weights: $(VENV)/installed
	$(BIN)/python -m training.weights

$(VENV)/python: 
	$(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	touch $@

$(VENV)/installed: requirements.lock pyproject.toml | $(VENV)/python
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/installed-test: requirements-test.lock $(VENV)/installed
	$(BIN)/python -m pip install --quiet --requirement requirements-test.lock
	touch $@

$(VENV)/installed-docs: requirements-docs.lock $(VENV)/installed
	$(BIN)/python -m pip install --quiet --requirement requirements-docs.lock
	touch $@

# New versions of everything, tried together in a fresh environment; commit the result when `make test` passes.
lock:
	.ci/lock

clean:
	rm -rf $(VENV) build dist *.egg-info quickstart docs/_build docs/reference/api
