# One command does all of its own set-up: `make app` or `make test` is enough on a new machine.
#
#   make app PYTHON=python3.12            another Python (3.11 or newer)
#   make app TORCH_INDEX=URL              torch from that index, such as PyTorch's for CPU-only builds
#   make app ARGS="--server.port 8600"    more arguments for streamlit
#   make test ARGS="-k trace"             more arguments for pytest

PYTHON ?= $(if $(shell command -v python3 2>/dev/null),python3,python3.11)
TORCH_INDEX ?=
ARGS ?=

BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip install -qq --no-input --disable-pip-version-check
LOUD = printf '\n\033[1;33m%s\033[0m\n%s\n\n'

HAS_CHROMIUM = { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null

# Debian packages, where apt may be used without a password; fails anywhere else.
APT_INSTALL = apt_install() { \
	sudo=; [ "$$(id -u)" = 0 ] || sudo="sudo -n"; \
	command -v apt-get >/dev/null && $$sudo true 2>/dev/null || return 1; \
	$$sudo apt-get update -qq </dev/null; \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$$@" </dev/null >/dev/null; }

# How the shipped sample models are trained, every backbone alike.
SAMPLE_RECIPE := --model.max_len 160 --model.dropout 0.1 --train.protocol recbole --train.epochs 40 --train.eval_every 4 \
	--train.lr 0.005 --train.average 0.99 --train.weight_decay 0.1
# Where the recipe alone leaves out what a backbone can learn: see sample_data/checkpoints/README.md.
SAMPLE_OF_mamba4rec := --model.state 8
SAMPLE_OF_ssd4rec := --train.epochs 80
SAMPLE_MODELS := recblr tbdlru lrurec mamba4rec ssd4rec tim4rec mingru deltanet sasrec tisasrec hstu hllm persrec gru4rec \
	markov popularity

.PHONY: help setup app test lint format samples notebooks chromium

help:
	@echo 'make app        set up, then start the app'
	@echo 'make test       set up, then run every test, those in a browser too'
	@echo 'make lint       ruff and mypy'
	@echo 'make format     let ruff rewrite what it can'
	@echo 'make samples    train the shipped sample models again'
	@echo 'make notebooks  write the .ipynb of every notebook from its .py'
	@echo 'make setup      only the environment in .venv'

setup: $(READY)

app: setup
	@$(BIN)/streamlit run app/main.py --server.showEmailPrompt=false $(ARGS)

# The tests in a browser time what a reader waits for, so they have the machine to themselves.
test: setup chromium
ifeq ($(strip $(ARGS)),)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not browser"
	$(BIN)/python -m pytest -m browser tests/app
else
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)
endif

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Train the sample models again: an hour on one core.
samples: setup
	@$(foreach name,$(SAMPLE_MODELS),echo "== $(name)"; \
		OMP_NUM_THREADS=1 $(BIN)/recblr train $(name) --data mixed --out sample_data/checkpoints/mixed/$(name) --replace \
		$(SAMPLE_RECIPE) $(SAMPLE_OF_$(name)) || exit 1;)

# Write the .ipynb twin of every notebook from its .py source; cells that did not change keep their ids.
notebooks: setup
	@$(BIN)/jupytext --quiet --update --to ipynb notebooks/*.py

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Repeated only when what is to be installed has changed.
$(READY): requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { $(LOUD) "$(PYTHON) was not found." \
		"Install Python 3.11 or newer, or name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { $(LOUD) "Python 3.11 or newer is needed." \
		"$(PYTHON) is $$($(PYTHON) --version 2>&1). Name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(APT_INSTALL); $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
		apt_install $$package || { $(LOUD) "$(PYTHON) cannot make virtual environments." \
			"Install the package $$package, then run make again."; exit 1; }; }
	@echo 'Setting up .venv: a few minutes, once.'
	@$(PYTHON) -m venv .venv
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$$(grep -o '^torch==[0-9.]*' requirements.txt)"
	@$(PIP) -r requirements.txt
	@$(PIP) --no-deps -e .
	@touch $@

chromium:
	@$(HAS_CHROMIUM) || { $(APT_INSTALL); echo 'Installing Chromium for the tests in a browser.'; \
		apt_install chromium && $(HAS_CHROMIUM); } || \
		$(LOUD) "THE TESTS IN A BROWSER WILL BE SKIPPED: there is no chromium, and apt may not be used here." \
			"To run them too: install Chromium, so that the command chromium starts it, then run make test again."
