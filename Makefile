# SPDX-License-Identifier: GPL-2.0
# The front door. `make help` lists what there is; Kbuild, beside this file, is what the kernel's build system reads.

RDB_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rdb
export RDB_CACHE

CARGO := scripts/cargo
TESTBED := $(CARGO) run --release --quiet -p rdb-testbed --bin

.DEFAULT_GOAL := all
MAKEFLAGS += --no-print-directory

.PHONY: all help setup module module-uml module-debug tools
.PHONY: demo test test-unit test-kapi test-vm test-all sim sim-exhaustive sim-mutations test-sim interop test-fast test-debug bench vm kernels lint fmt guests install clean

all: module tools ## Build rdb.ko for Debian's stock kernel, and the tools (what a plain `make` does)

help: ## Show this list
	@sed -nE 's/^([a-z][a-z-]*):[^#]*## (.*)/  \1\t\2/p' Makefile | expand -t 16

#: Building

setup: ## Make the build root and prepare the stock kernel (cached in RDB_CACHE; RDB_REFRESH=1 looks for a newer one)
	@scripts/prepare-kernel trixie

# With KDIR the kernel tree and the compilers are the user's own.
ifdef KDIR
module: ## Build rdb.ko (KDIR=… for a kernel tree of your own)
	@scripts/build-module $(abspath $(KDIR))
else
module: setup
	@scripts/build-module trixie
endif

module-uml: ## Build rdb.ko for user-mode Linux, building that kernel first if need be
	@scripts/make-kernel uml
	@scripts/build-module uml

module-debug: ## Build rdb.ko for the KASAN and lockdep kernel, building that kernel first if need be
	@scripts/make-kernel debug
	@scripts/build-module debug

tools: ## Build rdbadm and rdb-heartbeat
	$(CARGO) build --release --workspace --bins

guests: setup ## Make the userland and the disk image of the test machines
	@scripts/guest-image "$$(scripts/paths trixie RELEASE)"

#: Running

demo: module tools guests ## Play the how-to on two emulated machines: replicate, kill the primary, take over, return
	$(TESTBED) rdb-demo

vm: module module-uml tools guests ## A shell in a testbed of two connected machines
	$(TESTBED) rdb-vm

bench: module tools guests ## Measure raw disk, rdb alone, rdb connected and stock drbd, and print ratios and targets
	$(TESTBED) rdb-bench

test: test-unit test-kapi test-vm ## All tests: engine, tools, kernel wrappers, then the virtual machines

test-unit: ## Tests that need no machine: engine and tools
	scripts/cargo-test --workspace --exclude rdb-testbed

test-kapi: module-uml ## Self-test of the kernel wrappers in user-mode Linux
	@tests/kapi/run uml

test-vm: module module-uml tools guests ## Tests in virtual machines
	scripts/cargo-test -p rdb-testbed --release

test-all: module module-uml tools guests ## Every test in virtual machines on both kernels: takes hours
	scripts/cargo-test -p rdb-testbed --release --profile all

sim: ## The simulator: SEEDS=n or MINUTES=m; SEED=s (with STEPS, KEEP as a failed run says) replays one with a trace
	$(CARGO) run --release --quiet -p rdb-sim -- $(if $(SEED),--seed $(SEED) $(if $(STEPS),--steps $(STEPS)) $(if $(KEEP),--keep $(KEEP)) $(if \
		$(LINES),--lines $(LINES)),$(if $(MINUTES),--minutes $(MINUTES),--seeds $(or $(SEEDS),2000)) $(if $(FIRST),--first $(FIRST)))

sim-exhaustive: ## Every sequence of up to LENGTH (4) operations in the simulator, with a crash at each point
	$(CARGO) run --release --quiet -p rdb-sim -- --exhaustive $(or $(LENGTH),4) $(if $(JOBS),--jobs $(JOBS))

sim-mutations: ## Switch deliberate faults of the engine on, one after the other: the simulator must catch each
	$(CARGO) run --release --quiet -p rdb-sim --features mutations -- --mutations --seeds $(or $(SEEDS),300)

test-sim: ## The named tests of the simulator for many seeds (SEEDS, default 2000)
	RDB_SIM_SEEDS=$(or $(SEEDS),2000) scripts/cargo-test -p rdb-sim --release

interop: module tools guests ## rdb on one node, the stock drbd.ko on the other, in both assignments
	scripts/cargo-test -p rdb-testbed --release --profile interop

test-fast: module-uml tools guests test-unit ## Unit tests and what user-mode Linux can do: the loop after a change
	scripts/cargo-test -p rdb-testbed --release --profile fast

test-debug: module-debug tools guests ## Tests on the kernel with KASAN, lockdep, kmemleak and failing allocations: most of an hour
	@tests/kapi/run debug 1800
	scripts/cargo-test -p rdb-testbed --release --profile debug

kernels: ## Build for every Rust-enabled Debian kernel that the mirror has, and load the module in each
	@scripts/check-kernels

#: Keeping it tidy

lint: setup ## Formatting, clippy for host and kernel, checkpatch, shellcheck, YAML
	@scripts/lint

fmt: ## Format all Rust sources
	$(CARGO) fmt --all
	@scripts/in-root -C "$(CURDIR)" rustfmt --edition 2021 src/rdb.rs rust/rdb_kapi.rs rust/rdb_zerocopy.rs

install: ## Install module, tools, man pages and completion (DESTDIR, KVER)
	@scripts/install

clean: ## Remove what was built in the checkout (the cache stays)
	rm -rf build target
