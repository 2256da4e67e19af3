# Every command sets up what it needs in .venv and does no work twice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
ARGS ?=

.PHONY: help train test lint types bench bench-check gpu-check gpu-there clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 10

train: $(VENV)/.core  ## train a CNN on MNIST (ARGS="--epochs 1" and so on)
	$(BIN)/python examples/train_cnn.py $(ARGS)

test: $(VENV)/.test  ## the whole test suite with its coverage floors (ARGS="-k conv" for a part, without the floors)
ifeq ($(strip $(ARGS)),)
	$(BIN)/python -m pytest -n auto --cov --cov-report=
	$(BIN)/python -m coverage report --skip-covered --show-missing --fail-under=100 --include='kernels/*,*/backend.py,*/autograd/*,*/ops/*'
	$(BIN)/python -m coverage report --skip-covered --show-missing --fail-under=95
else
	$(BIN)/python -m pytest -n auto $(ARGS)
endif

lint: $(VENV)/.lint  ## ruff
	$(BIN)/ruff check .

types: $(VENV)/.lint  ## mypy on the package as a user installs it
	@rm -rf build/types
	@$(PIP) install --no-deps --target build/types .
	cd build/types && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml

bench: $(VENV)/.test  ## speed against PyTorch on this machine
	$(BIN)/python -m benchmarks $(ARGS)

bench-check: $(VENV)/.test  ## fails if we became slower against PyTorch than benchmarks/expected.json says
	$(BIN)/python -m benchmarks.check $(ARGS)

gpu-check: gpu-there $(if $(GPU_PYTHON),,$(VENV)/.gpu)  ## on a machine with a GPU: its tests, compute-sanitizer, timings
	$(or $(GPU_PYTHON),$(BIN)/python) -m pytest -n auto -k cuda $(ARGS)
	for tool in memcheck racecheck initcheck; do compute-sanitizer --tool $$tool --error-exitcode 1 \
	  $(or $(GPU_PYTHON),$(BIN)/python) tests/cuda/every_kernel.py || exit 1; done
	$(or $(GPU_PYTHON),$(BIN)/python) -m benchmarks gpu

gpu-there:
	@nvidia-smi --list-gpus || { echo "make gpu-check needs an NVIDIA GPU and its driver, and finds none on this machine" >&2; exit 1; }
	@command -v compute-sanitizer || { echo "make gpu-check needs compute-sanitizer, of the CUDA toolkit, on the PATH" >&2; exit 1; }

clean:  ## remove what the commands above made
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version.split()[0] + "; set it with: make PYTHON=/path/to/python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

# Where Numba has no wheel, everything works without it, on NumPy alone.
$(VENV)/.core: $(BIN)/python pyproject.toml
	$(PIP) install --editable '.[fast]' || $(PIP) install --editable .
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/.core

# cuBLAS and its relatives for the CuPy of the tests. With an environment of your own: make gpu-check GPU_PYTHON=python3
$(VENV)/.gpu: $(BIN)/python pyproject.toml
	$(PIP) install --editable '.[test,cuda12]'
	@touch $@ $(VENV)/.core $(VENV)/.test

$(VENV)/.lint: $(BIN)/python pyproject.toml
	$(PIP) install --editable '.[lint]'
	@touch $@ $(VENV)/.core
