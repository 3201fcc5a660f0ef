# Two commands matter: `make run` and `make test`. Both install what they need.
SHELL := /bin/bash
JOBS ?= $(shell nproc)
KEEP ?= 1
SEED ?= tests/seed
DOMAIN ?= apps.openshift.example.com
export CCACHE_MAXSIZE ?= 5G

.PHONY: run test build quick asan tsan fuzz bench soak format packages clean

run: build  ## build, start, carry the seed's procedure out end to end, say how to go on
	@tools/walk --seed $(SEED) --domain $(DOMAIN) $(if $(filter 0,$(KEEP)),--stop)

test: packages  ## build and run every test
	@tools/test all

build: packages  ## the release executables: build/release/knit, knit-supervisor, knit-events
	@tools/build release

quick:  ## what changed: unit and world tests of the dev build
	@tools/test quick

asan tsan fuzz soak:  ## one kind of test alone
	@tools/test $@

bench: build  ## writes build/bench.json and docs/benchmarks.md; one subject alone: tools/bench cold
	@tools/bench

format:  ## formats what differs from the last commit
	@git diff --name-only --diff-filter=d HEAD -- '*.cc' '*.h' | xargs -r clang-format-19 -i

packages:
	@tools/install-packages

clean:
	rm -rf build
