# Every target works in a fresh clone; it needs Python 3.11 or later, a C compiler, and PyPI (or a mirror that pip knows).
#   make demo   learn to read handwritten digits        make bench   measure, beside other libraries
#   make test   run the tests                           make lint    check style and types
#   make clean  remove all that was made
# PYTHON=python3.13 chooses an interpreter, ARGS="--epochs 100" is passed on to the program that a target runs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
C_SOURCES := $(shell find csrc -name '*.[ch]' -o -name '*.py') setup.py

.PHONY: demo test bench lint clean
.DELETE_ON_ERROR:

demo: $(VENV)/pynn $(VENV)/demo.txt
	$(BIN)/python -m pynn demo $(ARGS)

test: $(VENV)/pynn $(VENV)/test.txt
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile $(ARGS)

bench: $(VENV)/pynn
	$(BIN)/python -m bench $(or $(ARGS),peers)

lint: $(VENV)/pynn $(VENV)/lint.txt
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info pynn/_core.* demo.png .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(PYTHON) is older than Python 3.11; choose another by: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# An editable install: a change of Python needs none anew, a change of C does.
$(VENV)/pynn: $(C_SOURCES) pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

# What an extra asks for, read from pyproject.toml, so that installing it builds nothing.
$(VENV)/%.txt: pyproject.toml | $(BIN)/python
	$(BIN)/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	    print(*project["optional-dependencies"]["$*"], sep="\n")' > $@
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement $@
