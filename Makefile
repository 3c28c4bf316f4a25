# SPDX-License-Identifier: GPL-2.0
# The front door. `make help` lists what there is; Kbuild, beside this file, is what the kernel's build system reads.

RDB_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rdb
export RDB_CACHE

.DEFAULT_GOAL := all
.PHONY: all help setup module module-uml module-debug tools clean
MAKEFLAGS += --no-print-directory

all: module tools ## Build rdb.ko for Debian's stock kernel, and the tools (the default)

help: ## Show this list
	@sed -nE 's/^([a-z][a-z-]*):[^#]*## (.*)/  \1\t\2/p' Makefile | expand -t 20

setup: ## Make the build root and prepare the stock kernel (cached in RDB_CACHE)
	@scripts/prepare-kernel trixie

# With KDIR the kernel tree and the compilers are the user's own.
ifdef KDIR
module: ## Build rdb.ko (KDIR=… for a kernel tree of your own)
	@scripts/build-module $(abspath $(KDIR))
else
module: setup
	@scripts/build-module trixie
endif

module-uml: ## Build rdb.ko for user-mode Linux, building that first if need be
	@scripts/make-kernel uml
	@scripts/build-module uml

module-debug: ## Build rdb.ko for the KASAN and lockdep kernel, building that first if need be
	@scripts/make-kernel debug
	@scripts/build-module debug

tools: ## Build rdbadm and rdb-heartbeat
	cargo build --release --workspace --bins

clean: ## Remove what was built in the checkout (the cache stays)
	rm -rf build target
