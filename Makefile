# MPS. Two commands do everything on a fresh Debian 12 with Rust: `make demo` and `make test`.

PG ?= 15
ifndef PG_CONFIG
PG_CONFIG := $(shell tools/postgres $(PG))
endif
export PG PG_CONFIG

.PHONY: help setup install demo test psql api api-stop storm prove bench check clean

help:
	@echo "make demo      set up what is missing, build, and play one day of a shop"
	@echo "make test      set up what is missing, then every test"
	@echo "make psql      open the kept cluster (the demo's database is mps)"
	@echo "make api       serve the kept cluster to supabase-js; prints URL, keys and a snippet (PORT=3333, PGRST_JWT_SECRET=...)"
	@echo "make api-stop  end that"
	@echo "make install PG_CONFIG=/path/to/pg_config    build in release and install into that Postgres"
	@echo "make storm SECONDS=600 [CLIENTS=8] [SEED=1] [KILLS=1]  the long storm; with KILLS=1 the server is killed, too"
	@echo "make prove     the long proofs (docs/proofs.md): crashes, storms, mutants, models, strangers at the API; hours"
	@echo "make bench [QUICK=1]                         the benchmark; writes bench/RESULTS.md"
	@echo "make check     format, lint, misspelt words, licences of what is built in, unit tests, and whether the house is tidy"
	@echo "make clean     remove the clusters of demo, storm, proofs and tests"
	@echo "With PG=16, 17 or 18 each of them is about that Postgres; where Debian has none, set-up brings one."

setup:
	@tools/setup

# Builds in release and installs library, control file and SQL into the Postgres of PG_CONFIG, like any extension.
install:
	@[ -x "$(PG_CONFIG)" ] && command -v cargo-pgrx >/dev/null || tools/setup build
	@tools/install

demo: setup install
	@bash -c 'set -e; eval "$$(tools/cluster start kept)"; demo/run'

test: setup
	@tools/test

psql:
	@bash -c 'set -e; eval "$$(tools/cluster start kept)"; \
	  psql -Xqtc "select 1 from pg_database where datname = '"'mps'"'" | grep -q 1 || { createdb mps; psql -Xqd mps -c "create extension mps"; }; \
	  exec psql -d mps'

PORT ?= 3333
api: setup install
	@bash -c 'set -e; eval "$$(tools/cluster start kept)"; PORT=$(PORT) tools/serve start'

api-stop:
	@bash -c 'environment=$$(tools/cluster env kept) || exit 0; eval "$$environment"; tools/serve stop'

SECONDS ?= 600
CLIENTS ?= 8
SEED ?= 1
KILLS ?=
storm: setup install
	@bash -c 'set -e; eval "$$(tools/cluster start storm)"; \
	  MPS_CLUSTER=storm tools/cargo run --quiet -p mps-storm -- --seconds $(SECONDS) --clients $(CLIENTS) --seed $(SEED) \
    $(if $(KILLS),--kill-server-every 20 --kill-backends)'

prove: setup install
	@tools/prove $(if $(filter file,$(origin SEED)),,$(SEED))

bench: setup install
	@tools/bench

check:
	@MPS_TEST_ONLY="format lint typos deny unit tidy api" tools/test

clean: api-stop
	@for home in /var/tmp /dev/shm; do for name in kept storm prove test; do MPS_CLUSTERS=$$home tools/cluster destroy $$name; done; done
