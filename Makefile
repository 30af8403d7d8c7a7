# make demo    a fresh machine to a trained, verified network
# make test    environment, tests and doctests          make test-slow  the slow ones    make test-all  both
# make test-optimized   the tests of emitted programs, compiled with all of XLA's optimization, which make test leaves out
# make check   lint, format, types, all tests, docs     make format  the formatter's dialect, written
# make docs    the documentation, warnings are errors (and the book as PDF where TeX is)   make golden  rewrite the golden files, then review the diff
# make playground   the page that derives, proves and trains in a browser, on http://127.0.0.1:8000 (needs node and npm)
# make smoke   that page once in headless Chromium, which apt installs where it may
# make bench   ratios against autodiff, side by side    make clean   everything that was made
# make bench-gpu   the same on a GPU (installs the cuda extra); an error where there is none
# make mutants planted mistakes, and what refuses them
# make torch   torch for its processor build, the optional opponent and source of the tests that name it
#
# Needs python 3.11 or newer with venv; say PYTHON=/path/to/python to choose one.

VENV   ?= .venv
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13 python; do \
             $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN     = $(VENV)/bin
PY      = $(BIN)/python
OUT    ?= out
JOBS   ?= auto

.PHONY: all demo test test-slow test-optimized test-all check lint format types docs playground smoke golden bench bench-gpu mutants torch clean
all: test

# One stamp per set of extras: a second run installs nothing until pyproject.toml changes.
$(VENV)/made:
	@test -n "$(PYTHON)" || { echo "no python >= 3.11 found: install one, or say PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip
	@touch $@

$(VENV)/with-%: $(VENV)/made pyproject.toml
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch $@

demo: $(VENV)/with-train
	$(BIN)/derive train digits --out $(OUT)/digits --overwrite

test: $(VENV)/with-test
	$(PY) -m pytest -n $(JOBS) --dist worksteal -m "not slow" $(ARGS)

test-slow: $(VENV)/with-test
	$(PY) -m pytest -n $(JOBS) --dist worksteal -m slow $(ARGS)

test-optimized: $(VENV)/with-test
	XLA_FLAGS="$$XLA_FLAGS" $(PY) -m pytest -n $(JOBS) --dist worksteal -m "not slow" tests/numerics/emit tests/numerics/kernel $(ARGS)

test-all: $(VENV)/with-test
	$(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

check: lint types test-all docs

lint: $(VENV)/with-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(VENV)/with-dev
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: $(VENV)/with-dev
	$(PY) -m mypy

docs: $(VENV)/with-docs
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@if command -v lualatex >/dev/null && command -v latexmk >/dev/null; then \
	    $(PY) -m sphinx -W --keep-going -q -b latex docs docs/_build/latex && \
	    $(MAKE) -s -C docs/_build/latex LATEXMKOPTS="-silent" >docs/_build/latex/made.log 2>&1 \
	        && cp docs/_build/latex/derivatives.pdf docs/_build/html/ && echo "docs: docs/_build/html/derivatives.pdf" \
	        || { tail -30 docs/_build/latex/made.log; exit 1; }; \
	else echo "docs: the book is left out as PDF: there is no lualatex or latexmk"; fi
	@echo "docs: docs/_build/html/index.html"

playground: $(VENV)/with-docs
	$(PY) docs/playground/build.py docs/_build/playground --serve

smoke: $(VENV)/with-test
	@command -v chromium chromium-browser google-chrome >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
	    timeout 60 apt-get update -qq && timeout 120 apt-get install -qq -y --no-install-recommends chromium >/dev/null; } || \
	    echo "smoke: there is no Chromium, and none could be installed"
	$(PY) -m pytest -m slow -k smoke tests/house/test_playground.py $(ARGS)

golden: $(VENV)/with-test
	UPDATE_GOLDEN=1 $(PY) -m pytest -q tests -k golden
	@git --no-pager diff --stat -- tests/golden 2>/dev/null || true

bench: $(VENV)/with-train
	$(PY) -m benchmarks --out $(OUT)/bench $(ARGS)

bench-gpu: $(VENV)/with-train,cuda
	$(PY) -m benchmarks --device gpu --out $(OUT)/bench $(ARGS)

mutants: $(VENV)/with-test
	PYTHONPATH=tests $(PY) -m mutants --progress $(ARGS)

torch: $(VENV)/with-test
	$(PY) -m pip install --quiet --disable-pip-version-check torch==2.13.0

clean:
	rm -rf $(VENV) $(OUT) docs/_build docs/generated build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find derive numerics tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
