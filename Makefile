# Everything a person or a machine types. `make` alone lists it.
# The work is in scripts/; each target here says only what follows what.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test build check bench dev screenshots site setup

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## install what is missing, build quickly, start the demo with SQLite and the sandbox (ARGS="--port 3001 --fresh")
	@exec scripts/run $(ARGS)

test: ## install what is missing, run every test: Rust on SQLite and Postgres, processes, browser
	@scripts/test

build: ## the optimised binary, with the site inside: target/release/tokenbank
	@scripts/release

check: ## formats, lints, dependencies, links in the documentation; compiles every test
	@scripts/check

bench: build ## benchmarks, each with its floor beside it (refuses on a loaded machine)
	@scripts/bench

dev: setup ## build quickly, run the demo, build again on every change
	@node scripts/dev.mjs $(ARGS)

screenshots: setup ## take the README's pictures of every page, into docs/
	@scripts/test screenshots

site: ## only the part that browsers load: target/site
	@scripts/site

setup: ## only install what is missing to build
	@scripts/setup
