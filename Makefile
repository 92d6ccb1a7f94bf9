# The one entry point. Each target is a short call; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help dependencies build extension test attack sanitize run bench install uninstall format

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

dependencies: ## installs the Debian packages that are missing
	@scripts/install-dependencies

build: dependencies ## builds the extension, pawld and pawl
	@scripts/build-extension 15 >/dev/null
	swift build

extension: ## builds the extension alone, into a private PostgreSQL 15 under .pawl/
	@scripts/build-extension 15

test: ## every test; PART=NAME for one of `scripts/test --list`
	@scripts/install-dependencies --tests
	@scripts/test $(PART)

attack: dependencies ## the attack programs in their full form (some minutes)
	@extension/test/attacks/run --full

sanitize: dependencies ## engine, client, store and registry under the thread sanitizer, then under the address sanitizer (a quarter of an hour)
	@scripts/sanitize thread
	@scripts/sanitize address

run: dependencies ## the demonstration on a private Postgres; KEEP=1 leaves it up
	@KEEP=$(KEEP) scripts/run

bench: dependencies ## the benchmarks, each beside its floor
	@scripts/bench

install: ## installs a release build; DESTDIR, PREFIX and PG_CONFIG as usual
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" PG_CONFIG="$(PG_CONFIG)" scripts/install

uninstall: ## removes what make install put there; configurations and plugins stay
	@DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) PG_CONFIG=$(PG_CONFIG) scripts/install --uninstall

format: ## formats the Swift code in place
	swift format --in-place --parallel --recursive Package.swift Sources Tests Examples bench packaging
