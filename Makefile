# Each target installs what it needs into .venv on its first run, from nothing but Python 3.11 or newer.
# Stamps in .venv hold the time of the last installation; a change of pyproject.toml brings the next one.

PYTHON ?= python3
VENV = .venv
# Such as --system-site-packages, where torch is installed already.
VENV_FLAGS ?=

# Bytecode is kept even where the environment says otherwise: tests start hundreds of processes.
RUN = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(VENV)/bin/python -m

.PHONY: help quickstart test fast long lint pytest ruff mypy docs clean

help:
	@echo "make quickstart   train 150 small networks and read from their weights how they were made (minutes)"
	@echo "make test         all tests but the long ones, and make lint beside them (minutes)"
	@echo "make fast         ruff, and all tests but the slow and the long ones"
	@echo "make long         what make test holds a sample of, in full: fuzzing, kills, kernels (half an hour)"
	@echo "make lint         ruff and mypy"
	@echo "make docs         the site of docs/, into site/; a warning is an error"
	@echo "make clean        remove .venv and caches; datasets stay"

quickstart: $(VENV)/all.stamp
	@$(VENV)/bin/nws quickstart

# Side by side: lint ends long before the tests, and both are waited for.
test: $(VENV)/dev.stamp
	@$(MAKE) --no-print-directory --jobs=2 pytest lint

fast: $(VENV)/dev.stamp ruff
	@$(RUN) pytest -n 3 --dist worksteal -m "not slow and not long"

# Before a release, and after changes of what reads strangers' files, stages trainings, or computes on cards.
long: $(VENV)/dev.stamp
	@$(RUN) pytest -n 3 --dist load -m long

lint: ruff mypy

pytest: $(VENV)/dev.stamp
	@$(RUN) pytest -n 3 --dist worksteal

ruff: $(VENV)/dev.stamp
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .

mypy: $(VENV)/dev.stamp
	@$(RUN) mypy

docs: $(VENV)/dev.stamp
	@$(RUN) sphinx -W --keep-going -q docs site
	@echo "site/index.html"

clean:
	rm -rf $(VENV) dist site .pytest_cache .mypy_cache .ruff_cache
	find nws_data builders baselines benchmarks tests -name __pycache__ -prune -exec rm -rf {} +

# $(call install,EXTRA): make .venv if it is not there and install this checkout with an extra.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
			"Name another one, as in: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing nws-data[$(1)] into $(VENV): a minute or two and about 6 GB, once"
	@$(PYTHON) -m venv $(VENV_FLAGS) $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$(1)]'
endef

$(VENV)/all.stamp: pyproject.toml
	$(call install,all)
	@touch $@

# The extra dev holds the extra all.
$(VENV)/dev.stamp: pyproject.toml
	$(call install,dev)
	@touch $@ $(VENV)/all.stamp
