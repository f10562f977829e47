# make demo | studio | test | install | test-slow | lint | clean
VENV   := .venv
TORCH  ?= torch==2.13.0
PY     := $(VENV)/bin/python
PYTHON ?= $(shell for p in python3.12 python3.11 python3.10 python3 python; do \
            $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo $$p && break; done)

.PHONY: install demo studio test test-slow lint bench clean

install: $(VENV)/.installed
test: $(VENV)/.installed-dev lint
	$(PY) -m pytest

# One environment for users and developers; the stamp makes it only once.
$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.10, 3.11 or 3.12 is needed"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --upgrade pip
	$(PY) -m pip install -q -e .
	@# A clean Linux lacks libGL, which the windowed OpenCV wants: take the build that does without.
	@$(PY) -c 'import cv2' 2>/dev/null || { v=$$($(PY) -m pip list 2>/dev/null | awk '$$1=="opencv-contrib-python"{print $$2}'); \
	  echo "no libGL here: installing the headless OpenCV $$v"; \
	  $(PY) -m pip uninstall -q -y opencv-contrib-python; $(PY) -m pip install -q "opencv-contrib-python-headless==$$v"; }
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PY) -m pip install -q -e '.[dev,studio,sign]'
	-$(PY) -m pip install -q '$(TORCH)' 'safetensors>=0.4'  # without them the tests of the networks are skipped
	@$(PY) -c 'import cv2' 2>/dev/null || { $(PY) -m pip uninstall -q -y opencv-contrib-python; \
	  $(PY) -m pip install -q --force-reinstall --no-deps 'opencv-contrib-python-headless>=4.9,<5'; }
	@touch $@

studio: install
	$(PY) -m pip install -q -e '.[studio]'
	$(VENV)/bin/infinex studio

demo: install
	$(PY) examples/demo.py

lint: $(VENV)/.installed-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

test-slow: $(VENV)/.installed-dev
	$(PY) -m pytest -m slow --timeout 3600

bench: $(VENV)/.installed-dev
	$(PY) benchmarks/animate.py

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache demo.mp4
