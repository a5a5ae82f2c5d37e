# `make demo` and `make test` set up all they need in .venv; nothing outside this folder is touched. VENV=folder takes
# another environment, PYTHON=/path/to/python the interpreter of a new one, GPU=1 TensorFlow's build for NVIDIA GPUs.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
GPU := $(if $(wildcard $(VENV)/.installed-gpu),1,)# an environment for GPUs stays one until `make setup GPU=0`
INSTALLED := $(VENV)/.installed$(if $(filter 1,$(GPU)),-gpu)
export VENV PYTHON GPU
export TF_CPP_MIN_LOG_LEVEL := 3

DEMO := build/demo
DEMO_SETTINGS := --corpus_uri examples/cv-corpus-demo/en --n_hidden 192 --train_batch_size 8 --epochs 15 \
	$(if $(filter 1,$(GPU)),--train_flags='--devices gpu')

.PHONY: help setup demo check test pytest test-pythons coverage test-slow test-faults soak fuzz test-kubernetes test-kubeflow lint format compile tables lock clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(INSTALLED) ## make .venv, or bring it up to date (GPU=1: with TensorFlow for NVIDIA GPUs)
	@echo "setup: $(VENV) is up to date"

$(INSTALLED): requirements/dev.lock requirements/uv.lock requirements/install.sh pyproject.toml
	@requirements/install.sh

demo: $(INSTALLED) ## the whole pipeline on the example corpus; results in build/demo (GPU=1: trains on a GPU)
	@$(BIN)/speechmill run --output $(DEMO) $(DEMO_SETTINGS)
	@echo "Next       your own: $(BIN)/speechmill run --corpus_uri cv-corpus-24.0-2026-06-10-cy.tar.gz --output build/cy"

QUICK := not slow and not faults and not kubernetes and not kubeflow
BASE := main

check: lint ## under a minute: lint, types, and the tests nearest to what differs from BASE=main
	@affected=$$($(BIN)/python -m tests.affected --base $(BASE)) || exit; \
	if [ -z "$$affected" ]; then echo "tests: nothing that differs from $(BASE) has tests"; exit; fi; \
	echo "tests: pytest, of what differs from $(BASE)"; \
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "$(QUICK)" --maxfail 10 \
		-p tests.affected --start_within 25 $$affected || [ $$? -eq 5 ]

test: lint pytest ## all checks and tests but the slow ones

pytest: $(INSTALLED) ## the tests of `make test` without the checks (TESTS=tests/speech: some of them)
	@echo "tests: pytest"
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --max-worker-restart 0 -m "$(QUICK)" $(TESTS)

test-pythons: ## both commands on each Python that is installed (PYTHONS="3.10 3.13" TESTS=tests/speech: less)
	@PYTHONS="$(PYTHONS)" TESTS="$(TESTS)" KEEP="$(KEEP)" requirements/pythons.sh

coverage: $(INSTALLED) ## the same tests, and which lines they miss; build/coverage has them as pages
	@mkdir -p build
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "$(QUICK)" \
		--cov --cov-report term:skip-covered --cov-report html:build/coverage

test-slow: $(INSTALLED) ## the tests that take minutes, or need a container engine or a server
	@$(BIN)/python -m pytest -q -m slow

FAULTS := --seed 1 --kills 200 --kills_dag 50 --store 2000 --damaged 5000
test-faults: $(INSTALLED) ## hours: kills, full disks, a faulty store, damaged files, hostile input (FAULTS="--seed 2 --kills 20")
	@$(BIN)/python -m pytest -q -m "faults or not slow" --hypothesis-profile=faults tests/faults
	@$(BIN)/python -W ignore -m tests.faults $(FAULTS)

SOAK := --clips 200000 --steps 3000
soak: $(INSTALLED) ## half an hour: many clips and steps, and what processes hold meanwhile (SOAK="--clips 20000 --steps 600")
	@$(BIN)/python -W ignore -m tests.faults.soak $(SOAK)

PARSER := wav
COUNT := 50000
SEED := 1
fuzz: $(INSTALLED) ## damaged files for one parser (PARSER=wav mp3 tar checkpoint pb pbmm tflite scorer, COUNT=50000, SEED=1, GUIDED=1)
	@test -z "$(GUIDED)" || $(BIN)/uv pip install --quiet --python $(BIN)/python --group fuzz
	@$(BIN)/python -W ignore -m tests.faults.fuzz $(PARSER) $(COUNT) $(SEED) $(if $(GUIDED),--guided)

test-kubeflow: $(INSTALLED) ## the tests against a real Kubeflow Pipelines: KFP_ENDPOINT=http://... (see tests/kubeflow/conftest.py)
	@test -n "$(KFP_ENDPOINT)" || { echo 'error: KFP_ENDPOINT=http://HOST:PORT is missing' >&2; exit 2; }
	@KFP_ENDPOINT="$(KFP_ENDPOINT)" $(BIN)/python -m pytest -q -m kubeflow tests/kubeflow

test-kubernetes: $(INSTALLED) ## the tests in the Kubernetes that KUBECONFIG names (see tests/kubernetes/conftest.py)
	@echo "tests: kubernetes"
	@test -n "$$KUBECONFIG" || { echo 'error: KUBECONFIG names no Kubernetes' >&2; exit 2; }
	@kubectl get nodes >/dev/null
	@$(BIN)/python -m pytest -q -m kubernetes tests/kubernetes

lint: $(INSTALLED) ## ruff, mypy, import-linter
	@echo "tests: ruff, mypy, import-linter"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo 'error: run `make format`' >&2; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(INSTALLED) ## format the code and sort the imports
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format .

compile: $(INSTALLED) ## write build/retrain.yaml, the pipeline that Kubeflow takes
	@$(BIN)/speechmill compile

tables: $(INSTALLED) ## write the tables of settings in docs and the READMEs
	@$(BIN)/python -m pipelines.tables

# uv is taken from .venv, so the locks need one environment to make the next from.
TRACKED := import-cv train train-gpu evaluate publish# images whose steps have a --tracking_uri
STEP_LOCKS := import-cv train train-gpu export convert-mmap convert-openvino evaluate build-scorer publish
ALL_EXTRAS := import-cv train export onnx locales tracking convert-mmap convert-openvino evaluate build-scorer publish pipeline
UV_LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)
UV_COMPILE := $(UV_LOCK) --python-version 3.10

lock: ## make requirements/*.lock from pyproject.toml (UPGRADE=1: take newer versions)
	@$(UV_COMPILE) requirements/uv.in -o requirements/uv.lock
	@$(UV_COMPILE) --no-deps requirements/kfp.in -o requirements/kfp.lock
	@$(UV_LOCK) --python-version 3.9 requirements/ds-ctcdecoder.in -o requirements/ds-ctcdecoder.lock
	@$(UV_COMPILE) pyproject.toml $(ALL_EXTRAS:%=--extra %) --group dev -o requirements/dev.lock
	@for step in $(STEP_LOCKS); do \
		echo "lock: $$step"; \
		case " $(TRACKED) " in *" $$step "*) tracking="--extra tracking";; *) tracking=;; esac; \
		$(UV_COMPILE) pyproject.toml --extra $$step $$tracking -c requirements/dev.lock -o requirements/$$step.lock || exit 1; \
	done

clean: ## remove what the commands made, the environment excepted
	rm -rf build
