# What a newcomer and CI call; each target installs what it needs.
PYTHON  ?= python3
BACKEND ?= local
DEMO    ?= demo-night
SLURM   ?= demo-slurm
NIGHT   := 2020_01_27
VENV    := .venv
BIN     := $(VENV)/bin

.PHONY: help install install-dev install-cron demo test test-fast test-slow test-faults check bench clean system-packages slurm slurm-stop

help:
	@echo "make demo       install, make a small night, analyse and close it (below $(DEMO)/);"
	@echo "                BACKEND=slurm does so on the cluster of make slurm, or else on yours"
	@echo "make test       install what the tests need and run all of them"
	@echo "make test-fast  the tests that need neither lstchain nor a cluster (some minutes)"
	@echo "make test-faults  the tests that break something on purpose, and the table of what held"
	@echo "make install-cron  show what the crontab of this user would get, and ask (CONFIG=… names the configuration)"
	@echo "make check      ruff, mypy, direction of the imports"
	@echo "make slurm      start a private Slurm cluster below $(SLURM)/ (as root); make slurm-stop stops it"
	@echo "make bench      the benchmarks (see benchmarks/README.md)"
	@echo "make clean      remove the demo night and the virtual environment"

$(BIN)/python:
	@echo "== making a virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "Python 3.11 is needed; say which with: make PYTHON=/path/to/python3.11 …" >&2; exit 3; }
	@$(PYTHON) -m venv $(VENV) || { echo "venv is missing: install the package python3-venv" >&2; exit 3; }

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "== installing lst-osa with lstchain (about a minute)"
	@$(BIN)/python -m pip install --quiet --progress-bar on -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "== installing lst-osa with lstchain and the tools of its developers"
	@$(BIN)/python -m pip install --quiet --progress-bar on -e '.[dev]'
	@touch $@ $(VENV)/.installed

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

install-cron: install
	@$(BIN)/osacron --install $(if $(CONFIG),-c "$(CONFIG)")

demo: install
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh tools/demo.sh "$(DEMO)" "$(NIGHT)" "$(BACKEND)" "$(SLURM)"

system-packages:
	@sh tools/system-packages.sh

# First those that start no cluster, on two cores. Of the rest, the faults mostly wait, for Slurm and for
# what was killed: they go beside those with lstchain.
test: install-dev system-packages
	$(BIN)/python -m pytest -m 'not slow and not slurm' --ignore tests/faults -n 2
	@$(MAKE) --no-print-directory --output-sync=target -j 2 test-slow test-faults

test-slow: install-dev system-packages
	$(BIN)/python -m pytest -m 'slow or slurm' --ignore tests/faults

test-fast: install-dev
	$(BIN)/python -m pytest -m 'not slow and not slurm' -n 2

test-faults: install-dev system-packages
	$(BIN)/python -m pytest tests/faults

check: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

slurm:
	@command -v sbatch >/dev/null 2>&1 || sh tools/system-packages.sh
	@$(PYTHON) tools/slurm_cluster.py start "$(SLURM)"

slurm-stop:
	@$(PYTHON) tools/slurm_cluster.py stop "$(SLURM)"

bench: install-dev
	$(BIN)/python -m benchmarks.run_all

clean:
	rm -rf $(VENV) demo-night
