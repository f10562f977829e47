# make demo | studio | test | install | test-quick | test-slow | test-newest | lock | lint | clean
VENV   := .venv
TORCH  ?= torch==2.13.0
TRAIN  := 'safetensors>=0.4,<0.9' 'lightning-fabric>=2.2,<2.7'
LOCK   ?= constraints.txt
PY     := $(VENV)/bin/python
# Python compiles what it imports when it does: all of it would be 85 MB more.
PIP     = $(PY) -m pip --disable-pip-version-check install -q --no-compile
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3.14 python3.10 python3 python; do \
            $$p -c 'import sys, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 15))' 2>/dev/null && echo $$p && break; done)
DEV    := -e '.[dev,studio,sign,say,onnx,film]'
QUICK  := tests/media tests/test_cli.py tests/test_motion.py tests/test_install.py

.PHONY: install dev demo studio test test-quick test-slow test-newest lock lint bench clean

install: $(VENV)/.installed
dev: $(VENV)/.installed-dev
test: $(VENV)/.installed-dev lint
	$(PY) -m pytest

# What another Python than the one of `make test` has to show.
test-quick: $(VENV)/.installed-dev
	$(PY) -m pytest $(QUICK)

# One environment for users and developers; the stamp makes it only once. The versions are those of $(LOCK), which the
# tests were run with; where one of them is not to be had, the newest that pyproject.toml allows, and a line says so
# (STRICT=1: an error).
$(VENV)/.installed: pyproject.toml $(LOCK)
	@test -n "$(PYTHON)" || { echo "Python 3.10 to 3.14 is needed, with its module ensurepip (Debian: python3-venv)"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade 'pip<27'
	$(call with_lock,-e .)
	@touch $@

with_lock = @$(PIP) $(1) $(addprefix -c ,$(LOCK)) $(if $(and $(LOCK),$(if $(STRICT),,1)),|| { \
	  echo "$(LOCK) cannot be followed here: taking the newest versions that pyproject.toml allows"; $(PIP) $(1); })

# Without PyTorch the tests of the networks and of their training are skipped. A build that brings CUDA along takes
# gigabytes, which nobody who runs tests asked for: it is installed only where TORCH is given, on the command line or
# in the environment.
$(VENV)/.installed-dev: $(VENV)/.installed
	$(call with_lock,$(DEV))
ifneq ($(TORCH),)
ifeq ($(origin TORCH),file)
	@if $(PY) -m pip install --dry-run '$(TORCH)' 2>/dev/null | grep -q '^Would install.* nvidia-'; then \
	  echo "PyTorch for this Python comes with CUDA: left out, tests of the networks are skipped (TORCH='$(TORCH)' takes it)"; \
	else $(PIP) '$(TORCH)' $(TRAIN) $(addprefix -c ,$(LOCK)) || echo "no PyTorch for this Python: tests of the networks are skipped"; fi
else
	$(PIP) '$(TORCH)' $(TRAIN) $(addprefix -c ,$(LOCK))
endif
endif
	@touch $@

# The newest versions that pyproject.toml allows, in an environment of their own; what differs from $(LOCK) is printed.
test-newest:
	rm -rf .venv-newest
	$(MAKE) VENV=.venv-newest LOCK= dev
	@.venv-newest/bin/python -m pip --disable-pip-version-check install --dry-run -c constraints.txt $(DEV) \
	  2>/dev/null | sed -n 's/^Would install /tried instead of: /p'
	$(MAKE) VENV=.venv-newest LOCK= test

# One file for all Pythons and platforms. PyTorch stays out, whose builds differ by machine. UPGRADE= adds what is missing.
UPGRADE ?= --upgrade
lock:
	@test -n "$(PYTHON)" || { echo "Python 3.10 to 3.14 is needed"; exit 1; }
	@test -x .venv-lock/bin/uv || { $(PYTHON) -m venv .venv-lock && \
	  .venv-lock/bin/python -m pip --disable-pip-version-check install -q 'uv>=0.9,<0.14'; }
	@cp constraints.txt .venv-lock/constraints.txt
	.venv-lock/bin/uv pip compile -q --universal --no-python-downloads --python-version 3.10 --all-extras $(UPGRADE) \
	  --python .venv-lock/bin/python --no-annotate --no-header pyproject.toml -o .venv-lock/constraints.txt
	@{ echo "# The versions that the tests were run with; made by \`make lock\`."; \
	  grep -vE '^(torch|triton|nvidia-|cuda-)' .venv-lock/constraints.txt | sed "s/ and (([^()]*) or ([^()]*) or ([^()]*))$$//; \
	    s/ and python_full_version < '3.15'$$//; s/ ; python_full_version < '3.15'$$//"; } > constraints.txt

studio: install
	$(call with_lock,-e '.[studio,say]')
	$(VENV)/bin/infinex studio

demo: install
	$(PY) examples/demo.py

lint: $(VENV)/.installed-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

test-slow: $(VENV)/.installed-dev
	$(PY) -m pytest -m slow --timeout 3600

bench: $(VENV)/.installed-dev
	$(PY) benchmarks/animate.py

clean:
	rm -rf .venv .venv-* build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache demo.mp4
