# The one door: people, CI and the README use these targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL ?=
ARGS ?=

export CARGO_BUILD_JOBS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The set that the code is tested against; the package itself declares ranges.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
# Property tests do the same each time; another number has them draw other cases.
export PROPTEST_RNG_SEED ?= 1

RUST_FILES := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml 2>/dev/null)

.PHONY: install serve test test-rust test-python loom sanitize lint format fuzz wheel wheelhouse bench clean

install: $(VENV)/installed

$(VENV)/python-ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --group dev
	@touch $@

$(VENV)/installed: $(VENV)/python-ready $(RUST_FILES)
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --release --locked
	@touch $@

serve: install
	$(BIN)/lightllm-rs serve $(MODEL) $(ARGS)

test: test-rust test-python

test-rust:
	@if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --locked; else cargo test --locked --lib --bins --tests; fi
	cargo test --locked --doc
	@$(MAKE) --no-print-directory loom

test-python: install
	$(BIN)/python -m pytest $(ARGS)

# Every order in which a process that reads a record of the image cache can meet the one that writes it.
loom:
	RUSTFLAGS="--cfg loom" cargo test --locked --target-dir target/loom -p lightllm-cache --lib loom

# The kernels under the sanitizer of a CUDA toolkit, on a GPU.
SANITIZER ?= compute-sanitizer
sanitize: install
	PYTORCH_NO_CUDA_MEMORY_CACHING=1 $(SANITIZER) --tool memcheck --error-exitcode 9 \
		$(BIN)/python -m pytest -q -p no:cacheprovider tests/kernels/sanitized.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cargo fmt --all --check
	PYO3_PYTHON=$(CURDIR)/$(BIN)/python cargo clippy --locked --workspace --all-targets -- -D warnings
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest lightllm_rs._core

format:
	cargo fmt --all
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Any bytes at all for the decoders, a minute each; with a nightly toolchain of Rust.
FUZZ_SECONDS ?= 60
fuzz:
	@cargo +nightly --version >/dev/null 2>&1 || \
		{ echo "make fuzz needs a nightly toolchain: rustup toolchain install nightly"; exit 1; }
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	cargo +nightly run --quiet --manifest-path fuzz/Cargo.toml --bin seeds
	@for target in frame_decoder journal_reader; do \
		cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -timeout=10 || exit 1; \
	done

wheel: install
	$(BIN)/maturin build --release --locked --out dist

# Wheels of the package and of what a host with that Python and without a registry lacks: make wheelhouse PYTHON=3.12
wheelhouse:
	@$(MAKE) --no-print-directory wheel PYTHON=python3
	$(BIN)/python scripts/wheelhouse.py --python $(if $(filter python3,$(PYTHON)),3.12,$(PYTHON))

bench: install
	$(BIN)/python benchmarks/run.py $(ARGS)

clean:
	rm -rf $(VENV) target dist wheelhouse
