# Every target sets up what it needs. `make help` lists them.
# PYTHON picks the interpreter of the environment, LAB_ARGS goes to JupyterLab, TEST_ARGS to pytest.

VENV     ?= .venv
PYTHON   ?= python3
LAB_ARGS ?=
TEST_ARGS ?=
BIN      := $(VENV)/bin
READY    := $(VENV)/.ready
BOOK     := book/_build/html
JOBS     ?= $(shell $(PYTHON) -c "import os; print(os.cpu_count() or 1)")
AS_ROOT  := $(if $(filter 0,$(shell id -u)),--allow-root)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help lab test lint book results lessons student bench vendor constraints clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; ok = (3, 11) <= v[:2] < (3, 14); \
	  sys.exit(None if ok else f"Python {v[0]}.{v[1]} found; the course needs 3.11 to 3.13. Try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@test -x $(BIN)/python || { echo "Making the environment in $(VENV) …"; $(PYTHON) -m venv $(VENV); } || \
	  { echo "No venv module. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Installing the course: a few minutes, and several GB where PyTorch comes with CUDA …"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[course,book,test]'
	@# A course that needs no network does not ask to fetch news or look for updates.
	@$(BIN)/jupyter labextension disable "@jupyterlab/apputils-extension:announcements" >/dev/null
	@touch $@

lab: $(READY)  ## start JupyterLab on the course's start page (LAB_ARGS=… is passed on)
	$(BIN)/jupyter lab $(AS_ROOT) --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(LAB_ARGS)

test: lint $(BOOK)/index.html  ## lint, build the book, then every test, notebook and browser check
	OMP_NUM_THREADS=1 QKV_STATIC=1 QKV_BOOK=$(BOOK) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile \
	  --nbval --nbval-sanitize-with tests/nbval_sanitize.cfg tests notebooks $(TEST_ARGS)

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

book: $(READY)  ## build the book's website in book/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html -c book . $(BOOK)
	@echo "The book is built: open $(BOOK)/index.html"

$(BOOK)/index.html: book

results: $(READY)  ## finish the reference runs in data/results (hours; resumes where it stopped)
	$(BIN)/qkv sweep all --jobs $(JOBS) --results data/results
	$(BIN)/python scripts/claims.py

lessons: $(READY)  ## run the lessons and store their outputs in the .ipynb twins
	$(BIN)/python scripts/lessons.py run

student: $(READY)  ## make student notebooks, without solutions, in student/
	$(BIN)/python scripts/lessons.py student

bench: $(READY)  ## measure speed as ratios, other libraries beside ours (let nothing else run)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/qkv bench decode --out data/results/speed_decode.json
	$(BIN)/qkv bench train --out data/results/speed_train.json

vendor: $(READY)  ## fetch again what the book carries from npm (needs npm), by pinned hash
	$(BIN)/python scripts/vendor.py

constraints: $(READY)  ## pin the versions that are installed now as the tested set
	$(BIN)/python scripts/constraints.py

clean:  ## remove what was built; keep the environment and the runs
	rm -rf book/_build student .pytest_cache .mypy_cache .ruff_cache .hypothesis
