# The commands of everyday work. `make` alone lists them.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help test fast cover lint fuzz soak mutation bench bench-check bench-record weight

# The modules in subfolders, as ./bench/ and ./metrics/otel/.
MODULES := $(sort $(dir $(shell find . -mindepth 2 -name go.mod)))
COVERAGE ?= coverage
FUZZTIME ?= 10s
DURATION ?= 1h
MUTATED ?= internal/window internal/queue internal/inprogress internal/clientip internal/headers internal/options internal/mask internal/period backends .
LINTER ?= golangci-lint run --allow-parallel-runners

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

test: ## run all tests, including those of the nested modules
	@set -e; for module in ./ $(MODULES); do \
	  echo "== $$module"; (cd $$module && go test ./...); \
	done

fast: ## run the quick tests, in less than a minute on 2 cores
	@set -euo pipefail; log=$$(mktemp); trap 'rm -f $$log' EXIT; \
	if ! go test -vet=off -short -v ./... 2>&1 | tee $$log | grep -E '^(ok|FAIL)'; then \
	  grep -Ev '^ *(=== |--- PASS|PASS$$)' $$log; exit 1; \
	fi; \
	printf '\nLeft out: the race detector, the modules %s, and\n' '$(MODULES:./%/=%)'; \
	awk '/^=== (RUN|NAME|CONT)/ {name = $$3} sub(/.*left out with -short: /, "") {print "  " name ": " $$0}' $$log

cover: ## run all tests of this module and show what they cover; HTML in coverage/index.html
	@set -euo pipefail; rm -rf $(COVERAGE); mkdir -p $(COVERAGE)/data; \
	library=$$(go list ./... | grep -v -e /examples -e /redistest | paste -sd, -); \
	go test -vet=off -cover -coverpkg="$$library" ./... -args -test.gocoverdir="$$(cd $(COVERAGE)/data && pwd)" \
	  | sed $$'s/\tcoverage: .*//; /^coverage: /d'; \
	printf '\nCoverage, by any test of this module:\n'; \
	go tool covdata percent -i=$(COVERAGE)/data | sed -E $$'s/^\t+//; s/\t+coverage: / /'; \
	go tool covdata textfmt -i=$(COVERAGE)/data -o=$(COVERAGE)/profile; \
	go tool cover -html=$(COVERAGE)/profile -o=$(COVERAGE)/index.html; \
	go tool cover -func=$(COVERAGE)/profile | awk 'END {print "total " $$NF}'

# One run for all modules analyses their common dependencies once.
lint: ## run the linter on all modules
	@set -e; folder=$$(mktemp -d); trap 'rm -rf $$folder' EXIT; \
	export GOWORK=$$folder/go.work; \
	go work init ./ $(MODULES); \
	$(LINTER) ./... $(MODULES:%=%...)

fuzz: ## run each fuzz test for ten seconds, or for FUZZTIME=1m
	@set -euo pipefail; \
	grep -rEo --include='*_test.go' '^func Fuzz\w+' . | sort | while IFS=: read -r file function; do \
	  name=$${function#func }; echo "== $$file $$name"; \
	  (cd "$$(dirname "$$file")" && go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) .) </dev/null; \
	done

soak: ## run three servers and failing Redis servers for an hour, or for DURATION=5m; see docs/soak.md
	cd soak && go run . -duration $(DURATION)

mutation: ## change the code of MUTATED, and list the changes that no test notices
	cd mutation && go run . $(MUTATED:%=./%)

bench: ## compare with other rate limiters; see bench/README.md
	cd bench && go run ./cmd/table

# The decisions in memory and the middleware in Gin, beside the fastest peers: fails
# if a ratio is more than 15 % worse than the one recorded in bench/ratios.json, in
# two runs.
bench-check: ## compare, and fail if a ratio has become worse
	cd bench && go run ./cmd/table -memory -gin -check -tolerance 0.15

bench-record: ## record the ratios, on a machine that does nothing else
	cd bench && go run ./cmd/table -memory -gin -record

weight: ## measure what the limiter adds to a program
	@.ci/weight
