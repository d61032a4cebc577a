# Every target sets itself up on a machine that has only Python 3.11 to 3.13 and make; a second run
# re-uses what the first one installed, and then needs no network.
#
#   make demo                 install what the demo needs, run it, leave out/demo/
#   make test lint types docs what .ci/run runs
#   make bench                the benchmarks
#   make clean                remove what the others wrote, except the virtual environment
#
#   make demo PYTHON=python3.12
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu    where the default registry has the CUDA build
#   make test ARGS="-k ledger" JOBS=1

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
JOBS ?= 2
ARGS ?=

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet
# The stamps live inside the environment that they speak of: removing it removes them.
STAMPS := $(VENV)/.make

.DELETE_ON_ERROR:
.PHONY: demo test lint types docs bench clean

demo: $(STAMPS)/demo
	$(VENV)/bin/privsynth demo

# One thread per worker: torch and numpy in several processes would fight over the cores.
test: $(STAMPS)/dev
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --dist loadfile -m "not gpu" $(ARGS)

lint: $(STAMPS)/dev
	$(PY) -m ruff check .

types: $(STAMPS)/dev
	$(PY) -m mypy

# The variable silences an advertisement of mkdocs-material (docs/dependencies.md), not a warning of the build.
# Not --quiet: it hides warnings from --strict too, and nothing would fail (tests/test_docs.py).
docs: $(STAMPS)/dev
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

bench: $(STAMPS)/dev
	@set -e; for script in benchmarks/bench_*.py; do name=$$(basename "$$script" .py); echo "== $$name"; $(PY) -m "benchmarks.$$name"; done

clean:
	rm -rf out site dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

# --- set-up --------------------------------------------------------------------------------------

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	  sys.exit(None if (3, 11) <= v < (3, 14) else "privsynth needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d: make PYTHON=python3.12" % v)'
	@echo "== virtual environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

# torch first and alone, so that nothing else decides where it comes from.
$(STAMPS)/torch: $(STAMPS)/venv
	@echo "== $(TORCH)"
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	@touch $@

# The back end too is pinned, hence no build isolation.
$(STAMPS)/backend: $(STAMPS)/torch constraints.txt
	$(PIP) -c constraints.txt hatchling
	@touch $@

$(STAMPS)/demo: $(STAMPS)/backend pyproject.toml constraints.txt
	@echo "== privsynth and what the demo needs"
	$(PIP) --no-build-isolation -c constraints.txt -e ".[demo]"
	@touch $@

$(STAMPS)/dev: $(STAMPS)/backend pyproject.toml constraints.txt
	@echo "== privsynth with every extra and the tools"
	$(PIP) --no-build-isolation -c constraints.txt -e ".[all,dev]"
	@touch $(STAMPS)/demo $@
