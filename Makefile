# What one does here, one word each. `make help` lists it; ARGS goes to the command behind the word:
#   make dev ARGS="--port 0"        make test ARGS=part_of_a_test_name

ARGS ?=

# A .env may name a database. Queries are checked against the committed .sqlx all the same, so that nothing that is
# built depends on what runs.
export SQLX_OFFLINE = true

VOCALBRIDGE = cargo run --release -p cli --bin vocalbridge --

.DEFAULT_GOAL := help
.PHONY: help demo dev models test check bench api-check schemas sqlx-prepare

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

dev: ## build and run the whole system, with a Postgres and a nats-server of its own
	$(VOCALBRIDGE) dev $(ARGS)

demo: ## with `make dev` running: a whole spoken conversation about an invoice
	$(VOCALBRIDGE) call --agent "TechCorp Billing" --text "Hello. What is the status of invoice INV-TC-001?" \
		--text "Thank you. And how much is invoice INV-TC-002?" $(ARGS)

models: ## bring the models that hear and speak on this machine: 83 MB, once
	$(VOCALBRIDGE) models $(ARGS)

test: ## every test; needs no database and no broker
	@if cargo nextest --version >/dev/null 2>&1; \
	then set -x; cargo nextest run --workspace $(ARGS); \
	else set -x; cargo test --workspace $(ARGS); fi

check: ## what has to pass before a commit: format, lints, queries, dependencies, tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@if cargo sqlx --version >/dev/null 2>&1; \
	then .ci/sqlx-prepare --check; else echo "skipped: sqlx prepare --check (no sqlx-cli)"; fi
	@if cargo deny --version >/dev/null 2>&1; \
	then cargo deny check bans licenses sources; else echo "skipped: cargo deny (not installed)"; fi
	$(MAKE) test

bench: ## load on the real system, compared with the vendor called directly
	cargo build --release -p tests --bins # the program under test is one of them
	cargo run --release -p tests --bin bench -- $(ARGS)

api-check: ## with `make dev` running: try every operation of the API, for 5xx and undocumented statuses
	.ci/api-check $(ARGS)

schemas: ## write the events' schemas and docs/events.md
	$(VOCALBRIDGE) schemas $(ARGS)

sqlx-prepare: ## check all queries against the migrations and write .sqlx (needs sqlx-cli)
	.ci/sqlx-prepare
