# Two commands do everything from a fresh clone: `make demo` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo run test explore check format clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUN_READY := $(VENV)/.requirements
DEV_READY := $(VENV)/.requirements-dev
PACKAGES := bridge configs core host models quantize training tests benchmarks

help:  ## show this
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: $(RUN_READY)  ## FP16 Flux -> GGUF -> LoRA pair -> prompt files -> pictures, on this machine
	@$(BIN)/python -m core.demo

run: $(RUN_READY)  ## the director: watch ./inbox, fill ./outbox
	@$(BIN)/python core/director.py

test: $(DEV_READY)  ## all tests, on two cores
	@$(BIN)/python -m pytest -n 2 --dist loadfile

explore: $(DEV_READY)  ## the property tests with new, random examples, ten times as many
	@$(BIN)/python -m pytest -m hypothesis --hypothesis-profile=explore

check: $(DEV_READY)  ## ruff, mypy --strict, architecture: what CI runs before the tests
	@$(BIN)/ruff check $(PACKAGES)
	@$(BIN)/ruff format --check $(PACKAGES)
	@$(BIN)/mypy
	@$(BIN)/python -m pytest tests/test_architecture.py

format: $(DEV_READY)  ## let ruff tidy up
	@$(BIN)/ruff check --fix $(PACKAGES)
	@$(BIN)/ruff format $(PACKAGES)

clean:  ## remove what demo and tests made; the environment and your models stay
	@rm -rf demo .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Vulcan needs Python 3.11 or newer, and \`$(PYTHON)\` is not that. Install one" \
	    "(sudo apt install python3.12 python3.12-venv) and name it: make demo PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Python's venv module is missing: sudo apt install python3-venv"; exit 1; }

# llama-cpp-python has no binary for most systems. It is built by itself, first, so that the
# minutes it takes are seen to pass; pip keeps the wheel for the next clone.
$(VENV)/.llama: requirements.txt | $(BIN)/python
	@version=$$(grep -oE '^llama-cpp-python==[0-9.]+' requirements.txt); \
	if [ "$$($(PIP) list --format=freeze 2>/dev/null | grep -i '^llama.cpp.python==' | sed 's/.*==//')" \
	     != "$${version##*==}" ]; then \
	  for tool in cc c++; do command -v $$tool >/dev/null || { \
	    echo "A C and C++ compiler is needed to build $$version, and \`$$tool\` is not there."; \
	    echo "  Debian, Ubuntu, WSL:  sudo apt install build-essential"; \
	    echo "  Fedora:               sudo dnf install gcc gcc-c++"; \
	    echo "  Arch:                 sudo pacman -S base-devel"; exit 1; }; done; \
	  echo "Installing $$version: built from source, once, about 4 minutes on 2 cores."; \
	  CMAKE_ARGS="$${CMAKE_ARGS:--DLLAVA_BUILD=OFF}" $(PIP) install -v "$$version" 2>&1 \
	    | tee $(VENV)/llama-build.log \
	    | awk '/^ *\[[0-9]+\/[0-9]+\]/ { split($$1, n, /[\[\]\/]/); share = int(10 * n[2] / n[3]); \
	           if (share != told) { print "  compiled " n[2] " of " n[3] " parts"; fflush(); told = share } }' \
	  || { tail -n 25 $(VENV)/llama-build.log; \
	       echo "Building $$version failed; the whole log is $(VENV)/llama-build.log"; exit 1; }; \
	fi
	@touch $@

$(RUN_READY): requirements.txt $(VENV)/.llama
	@echo "Installing requirements.txt (torch alone is several hundred MB)"
	@$(PIP) install --quiet --requirement requirements.txt
	@touch $@

$(DEV_READY): requirements-dev.txt $(RUN_READY)
	@echo "Installing requirements-dev.txt"
	@$(PIP) install --quiet --requirement requirements-dev.txt
	@touch $@
