# Two commands a newcomer needs: `make quickstart` and `make test`. Both set everything up.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed
# Ray gives its workers niceness 15: beside other work trials of tests would starve until a time limit.
PYTEST := RAY_worker_niceness=0 $(BIN)/python -m pytest

.PHONY: quickstart test test-all lint format lock clean

quickstart: $(READY)
	$(BIN)/sweeps run quickstart --yes
	$(BIN)/sweeps export quickstart
	$(BIN)/sweeps report quickstart

test: $(READY)
	$(PYTEST)

test-all: $(READY)
	$(PYTEST) -m "long or browser or not long"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torch goes first and alone: asked for by its own pin, pip does not fetch a newer or a CUDA build.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[minilm,lora,test,dev]'
	touch $(READY)

# Rewrites the lock from what the environment holds now.
lock: $(READY)
	$(BIN)/python -m pip freeze --exclude-editable | sed -e 's/^\(torch==[0-9.]*\)+.*/\1/' > constraints.txt

clean:
	rm -rf .venv store *.egg-info
