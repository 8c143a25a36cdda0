# `make help` lists the targets. Recipes longer than a few lines are scripts.

CARGO    ?= cargo
PREFIX   ?= /usr/local
SERVER   ?=
ROUNDS   ?= 10
FEATURES ?=
udf      := --manifest-path udf/Cargo.toml
# What `resqd --version` shows.
export RESQ_COMMIT ?= $(shell git rev-parse --short=9 HEAD 2>/dev/null)

.PHONY: build run demo demo-migrate db-stop clean-db test test-matrix test-faults screenshots bench udf install uninstall deb static image test-packages windows test-windows dist clean help

build: ## Build the programs into target/release (FEATURES=toast: with desktop notifications)
	$(CARGO) build --release --locked --bins --features "$(FEATURES)"

run: build udf ## Start a private server, queue 20 resources (SEED=n) and run resqd (WORKERS=5; V=1: with its log); MYSQL_HOST=… or MYSQL_SOCKET=… uses that server instead
	@scripts/run.sh $(if $(V),-v)

demo: build udf ## Play one story on a private server: rows change, a trigger publishes, two clients receive what they subscribed to
	@scripts/demo.sh

demo-migrate: build ## Play a migration on a private server: 60 databases, a changed template, a proof, a rollout that halts and goes on
	@scripts/demo-migrate.sh

db-stop: ## Stop the private server of `make run`; keep its data
	@scripts/testdb.sh down .resq/server

clean-db: ## Stop the private server of `make run` and remove its data
	@scripts/testdb.sh remove .resq/server
	@rm -rf .resq

test: ## Check format and lints, then run all tests on private servers (SERVER="mysql97 …" picks their kinds)
	@scripts/test.sh all $(SERVER)

test-matrix: ## Run the end-to-end tests on MySQL, MariaDB new and old, a Galera cluster and a MySQL group
	@scripts/test.sh e2e mariadb1011 mysql97 mariadb105 galera group

test-faults: ## Run the fault tests ROUNDS=10 times each (SERVER="mariadb1011 …"; RESQ_SEED=n repeats a run)
	@FAULT_ROUNDS=$(ROUNDS) scripts/test.sh faults $(SERVER)

screenshots: ## Make pictures of the dashboard, light and dark, in target/screenshots; two of them go into docs/images
	@scripts/test.sh screenshots

bench: udf ## Measure on private servers, as ratios to bare connections
	$(CARGO) bench --locked

udf: ## Build the loadable functions into udf/target/release
	$(CARGO) build --release --locked $(udf)

install: ## Copy what `make build udf` built to PREFIX (/usr/local), below DESTDIR
	@PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) scripts/install.sh install

uninstall: ## Remove what `make install` copied, and nothing else
	@PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) scripts/install.sh uninstall

deb: build udf ## Make the Debian packages resq and resq-udf in target/package
	@scripts/package/deb.sh

static: ## Build the programs so that they need no C library, with musl
	@scripts/package/static.sh

image: static ## Make an OCI image in target/package/image, without a container engine
	@scripts/package/image.sh

test-packages: deb image ## As root: install, upgrade and purge the packages in a fresh Debian; run the image in a chroot; check scripts/deploy and scripts/monitoring
	@scripts/package/test-deb.sh
	@scripts/package/test-image.sh
	@scripts/package/test-deploy.sh

windows: ## Cross-build resq-client.exe and resq-trigger.exe, with mingw-w64
	@scripts/package/windows.sh

test-windows: build windows ## As root: run the programs for Windows under Wine, against a private server
	@scripts/package/test-windows.sh

dist: deb image windows ## Put a release into target/dist, with checksums: source, packages, static programs, image, Windows
	@scripts/package/dist.sh

clean: ## Remove what was built
	$(CARGO) clean
	$(CARGO) clean $(udf)

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r target text; do \
	  printf '  %-14s %s\n' "$$target" "$$text"; done
