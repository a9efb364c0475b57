# make help lists the targets. Variables: PORT (of `make serve`), PYTHON (3.11 or newer); of `make
# image`: IMAGE, RUNTIME (cpu or gpu), BASE, SOURCE, and SHIPCHIP_BUILD_IMAGE (docker, podman, buildah
# or a program that is called as: PROGRAM CONTEXT IMAGE BUILD-ARGUMENTS).
PORT ?= 3000
PYTHON ?= python3
UV ?= uv
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE ?= shipchip:$(VERSION)
RUNTIME ?= cpu

SERVE := .venv/serve
DEV := .venv/dev
# Two processes. All tests of a file run in one of them, so what its fixtures start is started once.
PYTEST := $(DEV)/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder
# The locks of the GPU packages are taken where an NVIDIA driver is seen.
KIND := $(shell if nvidia-smi >/dev/null 2>&1 || [ -e /proc/driver/nvidia/version ]; then echo gpu; else echo cpu; fi)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve install dev check test lint coverage bench gpu-check format lock wheel image clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'
	@echo "  variables: PORT=$(PORT) PYTHON=$(PYTHON); packages for: $(KIND)"

# Exported, not set in the command: without a shell between them, a signal to make ends the service.
serve: export BENTOML_DO_NOT_TRACK = True
serve: $(SERVE)/.installed-$(KIND) ## install what serving needs, then serve on PORT
	$(SERVE)/bin/bentoml serve . --port $(PORT)

install: $(SERVE)/.installed-$(KIND) ## install what serving needs, nothing else

dev: $(DEV)/.installed-$(KIND) ## install what training and the tests need, nothing else

check: lint ## ruff, mypy and the fast tests: what to run before a commit
	$(PYTEST) -m "not slow"

test: lint ## ruff, mypy and all tests
	$(PYTEST)

lint: $(DEV)/.installed-$(KIND) ## ruff and mypy only
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy

coverage: $(DEV)/.installed-$(KIND) ## lines of shipchip and serving that tests run: 90 %, or it fails
	$(DEV)/bin/pytest tests/shipchip tests/serving --cov --cov-report=term --cov-fail-under=90

bench: $(DEV)/.installed-$(KIND) ## all figures of speed beside their bars, on a quiet machine
	$(DEV)/bin/python -m benchmarks.serving --seconds 4 --rounds 2
	for chips in 32 8 1; do $(DEV)/bin/python -m benchmarks.overload --seconds 15 --chips $$chips || exit; done
	$(DEV)/bin/python -m benchmarks.batch --chips 2000 --without many ray
	$(DEV)/bin/python -m benchmarks.runtimes
	$(DEV)/bin/python -m benchmarks.training --model vgg16 --width 1 --chips 128
	$(DEV)/bin/python -m benchmarks.scenes

gpu-check: ## check a GPU where torch with CUDA is installed (GPU_CHECK=options)
	$(PYTHON) -m benchmarks.gpu $(GPU_CHECK)

format: $(DEV)/.installed-$(KIND) ## let ruff order imports and lay out the code
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

lock: ## pin all dependencies anew (needs uv)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: $(PYTHON) -m pip install uv"; exit 1; }
	$(call pin,serve-cpu,--extra cpu --extra serve)
	$(call pin,serve-gpu,--extra gpu --extra serve)
	$(call pin,dev-cpu,--extra cpu --extra serve --extra train --extra scale --extra geo --extra openvino --extra dev)
	$(call pin,dev-gpu,--extra gpu --extra serve --extra train --extra scale --extra geo --extra openvino --extra dev)

# Without what an earlier build left: setuptools would pack it.
wheel: $(SERVE)/.installed-$(KIND) ## build a wheel with the default model, into dist/
	rm -rf build
	$(SERVE)/bin/python -m pip wheel --quiet --disable-pip-version-check \
	  --no-deps --no-build-isolation --wheel-dir dist .

image: ## build the container image IMAGE
	@$(build-image)

clean: ## delete virtual environments, caches and builds
	rm -rf $(SERVE) $(DEV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf .import_linter_cache
	find shipchip serving training tests -name __pycache__ -type d -prune -exec rm -rf {} +

define build-image
revision=$$(git describe --always --abbrev=40 --dirty --exclude '*' 2>/dev/null || echo unknown); \
set -- --build-arg "RUNTIME=$(RUNTIME)" --build-arg "VERSION=$(VERSION)" \
  --build-arg "REVISION=$$revision" \
  $(if $(SOURCE),--build-arg "SOURCE=$(SOURCE)") $(if $(BASE),--build-arg "BASE=$(BASE)"); \
builder="$${SHIPCHIP_BUILD_IMAGE:-}"; \
for engine in docker podman buildah; do \
  if [ -z "$$builder" ] && $$engine info >/dev/null 2>&1; then builder=$$engine; fi; \
done; \
case "$$builder" in \
  "") echo "make image needs docker, podman or buildah; found none that answers"; exit 1;; \
  docker) docker build --tag "$(IMAGE)" "$$@" . ;; \
  podman|buildah) $$builder build --format docker --tag "$(IMAGE)" "$$@" . ;; \
  *) "$$builder" . "$(IMAGE)" "$$@" ;; \
esac
endef

define pin
	$(UV) pip compile pyproject.toml locks/build.in $(2) --upgrade --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url -o locks/$(1).txt
endef

# Stamps are written last, so an environment whose making was cut off is made anew. A changed lock
# makes it anew, too; a changed pyproject.toml only installs the project again. setuptools warns about
# every editable installation, which is what this is meant to be.
.venv/%/.installed-$(KIND): .venv/%/.locked-$(KIND) pyproject.toml
	PYTHONWARNINGS=ignore .venv/$*/bin/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps --no-build-isolation -e .
	@touch $@

.venv/%/.locked-$(KIND): locks/%-$(KIND).txt locks/install.sh
	@$(check-python)
	rm -rf .venv/$*
	$(PYTHON) -m venv .venv/$*
	sh locks/install.sh $< .venv/$*/bin/python -m pip
	@touch $@

.PRECIOUS: .venv/%/.locked-$(KIND)

define check-python
command -v $(PYTHON) >/dev/null || \
  { echo "$(PYTHON) is not there; install Python 3.11 or newer, or give one by PYTHON="; exit 1; }; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
  { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1); shipchip needs 3.11 or newer: give one by PYTHON="; exit 1; }; \
$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
  { echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
endef
