# Two commands on a fresh machine: `make demo` and `make test`. Both set up what they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
JOBS ?= 2
# nnU-Net's own predictor, for the test of the plug-in only: in an environment of its own, made by plain pip, because its torch
# is large and, from some indexes, a CUDA build. TORCH_ARGS takes what pip needs for the CPU build (docs/detectors.md).
NNUNET := .venv-nnunet
TORCH ?= torch==2.13.0
TORCH_ARGS ?=

.PHONY: demo test check clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable . --group dev
	touch $@

demo: $(STAMP)
	$(BIN)/python scripts/demo.py

$(NNUNET)/.ready: Makefile
	$(PYTHON) -m venv $(NNUNET)
	$(NNUNET)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile $(TORCH_ARGS) $(TORCH)
	echo "$(TORCH)" > $(NNUNET)/constraints.txt
	$(NNUNET)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -c $(NNUNET)/constraints.txt nnunetv2==2.8.1
	touch $@

test: check $(NNUNET)/.ready
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) $(NNUNET) demo_out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
