# The one entry point. Each target is a short call; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help build dependencies extension

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

dependencies: ## installs the Debian packages that are missing
	@scripts/install-dependencies

build: dependencies ## builds the extension, pawld and pawl (debug)
	@scripts/build-extension 15 >/dev/null
	swift build

extension: ## builds the extension alone, into a private PostgreSQL 15 under .pawl/
	@scripts/build-extension 15
