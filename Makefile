# What people type. `make` alone says what there is.

CARGO ?= cargo
# What `cargo test` or nextest is told besides, such as the name of a test: make test TESTS=journal
TESTS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test bench lint needs

help:
	@echo 'make demo    install what is needed, build, and run one real failover in a sandbox'
	@echo 'make test    install what is needed, run all tests (TESTS=word: only those with the word in their name)'
	@echo 'make bench   measure: ten thousand steps, the sandbox, the failover against a bare script'
	@echo 'make lint    formatting, clippy, dependencies'
	@echo 'make needs   only install what the sandbox and the tests need of Debian'

# The programs that the sandbox starts (sshd, PostgreSQL, nginx, name servers) and the tests call.
needs:
	@scripts/needs.sh

demo: needs
	$(CARGO) build --locked
	@DR_PLAN="$${CARGO_TARGET_DIR:-target}/debug/dr-plan" scripts/demo.sh

# nextest gives every test a process and a time limit; `cargo test` runs the same tests without it.
test: needs
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	    set -x; exec $(CARGO) nextest run --locked $(TESTS); \
	else \
	    echo 'cargo-nextest is not installed: the same tests run with `cargo test`' \
	         '(to get it: cargo install --locked cargo-nextest)'; \
	    set -x; exec $(CARGO) test --locked $(TESTS) -- $(LIBTEST_ARGS); \
	fi

bench: needs
	$(CARGO) bench --locked --bench steps --bench world
	@DR_PLAN="$${CARGO_TARGET_DIR:-target}/release/dr-plan" benches/failover.sh

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	@scripts/dependencies.sh
