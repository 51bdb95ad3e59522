# Callwright. `make help` tells what there is.
#
# Everything happens in .venv, made here; nothing is installed outside it, but the Debian packages of `make test` (as root).

PYTHON ?= python3
SITE   ?= .
FIGURES ?=
VENV   := .venv
BIN    := $(VENV)/bin
BUILD  := pyproject.toml $(wildcard setup.py) $(wildcard engine/media/native/*.pyx) $(wildcard engine/media/native/*.px[di]) \
          $(wildcard engine/media/native/*.h)
# Debian package and a command (or a file) of it: what the tests need beside Python.
DEBIAN := sip-tester:sipp postgresql:initdb linphone-cli:linphonec kamailio:kamailio \
          kamailio-tls-modules:/usr/lib/*/kamailio/modules/tls.so iproute2:ip mount:mount

# Tests without a foreign program and without a whole hotline take no notice of each other; the others share the machine.
ALONE  := tests/attack tests/e2e tests/interop
BESIDE := tests/unit tests/properties tests/scenarios

.PHONY: help run test interop bench check clean tools debian

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: $(BIN)/.run ## Start the hotline with the example site (SITE=DIR for another)
	@exec $(BIN)/callwright serve --site $(SITE)

test: export PYTHONDONTWRITEBYTECODE = # else each hotline that a test starts would compile everything anew
test: $(BIN)/.test debian ## Run all tests (ARGS="…" for some: pytest's own words)
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	@status=0; set -x; \
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(BESIDE) || status=1; \
	$(BIN)/python -m pytest $(ALONE) || status=1; \
	{ set +x; } 2>/dev/null; exit $$status
endif

interop: $(BIN)/.test debian ## Try every foreign phone, proxy and B2BUA with all it can; writes docs/interop.md
	CALLWRIGHT_INTEROP=full $(BIN)/python -m pytest tests/interop $(ARGS); status=$$?; \
	$(BIN)/python -m tests.interop.table && exit $$status

bench: $(BIN)/.test ## Measure, one JSON line a figure (FIGURES="…" for some)
	$(BIN)/python -m bench.run $(FIGURES)

check: $(BIN)/.test ## Lint, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/yamllint --strict -c .yamllint.yaml .

clean: ## Remove what was built (not the journal, not recordings)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find engine -name '*.so' -delete
	find . -name __pycache__ -prune -exec rm -rf {} +

tools:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Callwright needs Python 3.11 or newer; this is $$($(PYTHON) --version) (choose one with make PYTHON=python3.12)." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null && \
	  $(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' && \
	  { command -v cc || command -v gcc; } >/dev/null || \
	  { echo "Callwright builds its media part with a C compiler: apt-get install gcc libc6-dev python3-dev python3-venv" >&2; exit 1; }

$(VENV)/pyvenv.cfg:
	@$(MAKE) --no-print-directory tools
	$(PYTHON) -m venv $(VENV)

$(BIN)/.run: $(VENV)/pyvenv.cfg $(BUILD)
	@$(MAKE) --no-print-directory tools
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(BIN)/.test: $(VENV)/pyvenv.cfg $(BUILD)
	@$(MAKE) --no-print-directory tools
	$(BIN)/python -m pip install --quiet --editable '.[test,prompts]'
	@touch $@ $(BIN)/.run

debian:
	@missing=""; for pair in $(DEBIAN); do \
	  PATH="$$PATH:$$(echo /usr/lib/postgresql/*/bin | tr ' ' ':')" command -v $${pair#*:} >/dev/null || ls $${pair#*:} >/dev/null 2>&1 || missing="$$missing $${pair%:*}"; \
	done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	  else echo "The tests need these Debian packages: apt-get install$$missing" >&2; exit 1; fi; \
	fi
