# Everything that is done to this tree is a target here; `make` lists them.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Tools are pinned here and not in go.mod, which holds what the programs link.
GOLANGCI := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT  := go run mvdan.cc/gofumpt@v0.12.0

# FUZZTIME is how long each fuzz target runs, ROWS which benchmarks (N4,N6; all when
# empty), TESTFLAGS what every go test gets besides.
FUZZTIME  ?= 10s
ROWS      ?=
TESTFLAGS ?=

# Every plugin is a module of its own, which ./... does not see.
PLUGINS = $(shell find plugins -name go.mod -not -path '*/testdata/*' -printf '%h\n' 2>/dev/null | sort)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build every package, and the programs into this folder
	go build ./...
	CGO_ENABLED=0 go build -trimpath -o stavily .
	CGO_ENABLED=0 go build -trimpath -o stavily-edge ./edge/stavily-edge
	CGO_ENABLED=0 go build -trimpath -tags gateway -o stavily-gateway ./edge/stavily-edge
	CGO_ENABLED=0 go build -trimpath -o stavily-sim ./sim/stavily-sim

.PHONY: test
test: ## run every test, the plugins' too
	go test -timeout 20m $(TESTFLAGS) ./...
	@for dir in $(PLUGINS); do echo "go test ./$$dir"; (cd $$dir && go test $(TESTFLAGS) ./...); done

.PHONY: race
race: ## run the tests again, the long ones left out, under the race detector
	go test -race -short $(TESTFLAGS) ./...

.PHONY: vet
vet: ## go vet, and the style in numbers
	go vet ./...
	go vet -tags gateway ./edge/stavily-edge
	@for dir in $(PLUGINS); do (cd $$dir && go vet ./...); done
	go run ./internal/housekeeping sizes

.PHONY: lint
lint: vet ## vet, and golangci-lint as .golangci.yml says
	$(GOLANGCI) run

.PHONY: tools
tools: ## fetch and build the pinned tools, which takes minutes the first time
	$(GOLANGCI) version
	$(GOFUMPT) -version

.PHONY: fmt
fmt: ## format every Go file
	$(GOFUMPT) -w .

.PHONY: fmtcheck
fmtcheck: ## fail when a Go file is not formatted
	@unformatted="$$($(GOFUMPT) -l .)"; \
	if [ -n "$$unformatted" ]; then printf 'not formatted (make fmt):\n%s\n' "$$unformatted"; exit 1; fi

.PHONY: check
check: fmtcheck lint test ## what a change must pass before it is sent

.PHONY: vectors
vectors: ## write the protocol's golden vectors anew
	go test ./protocol -run Vector -update

.PHONY: sdk
sdk: ## pack the Go SDK for the hub's builds and renew its sums in the plugins
	go run ./internal/sdkpack

# CWASM is how a guest in C is built without a library, with Debian's clang and lld.
CWASM := clang-14 --target=wasm32 -nostdlib -ffreestanding -fno-builtin -O2 -std=c11 -Wall -Wextra \
	-Wl,--no-entry,--strip-all,-z,stack-size=4096

.PHONY: guests
guests: ## build the C guests of wasmhost/testdata anew, with clang-14 and lld-14
	cd wasmhost/testdata/c && $(CWASM) -DKIND=1 -o trigger.wasm plugin.c
	cd wasmhost/testdata/c && $(CWASM) -DKIND=2 -o action.wasm plugin.c
	cd wasmhost/testdata/c && $(CWASM) -DKIND=3 -o output.wasm plugin.c
	cd wasmhost/testdata/c && $(CWASM) -o extism.wasm extism.c
	chmod 644 wasmhost/testdata/c/*.wasm

.PHONY: engines
engines: ## make the engines for scripts from pinned sources; ENGINES=quickjs only that
	bash plugins/engines/make.sh dist/engines $(ENGINES)

.PHONY: rust
rust: ## run the tests of the Rust SDK and its samples
	cd plugins/sdk/rust && CARGO_TARGET_DIR="$(CURDIR)/dist/rust" cargo test --quiet --locked --offline --workspace --lib --bins

.PHONY: wasm
# Cargo names what it builds by the absolute path of a crate outside of its workspace, and what is named
# otherwise is laid out otherwise: so the guests are built at one path, wherever the checkout is.
WASM_AT = /tmp/stavily-wasm

wasm: ## build the Rust guests anew: wasmhost/testdata/rust/{trigger,action,output,threshold,counter}.wasm
	@rm -rf $(WASM_AT) && mkdir $(WASM_AT)
	@git ls-files -co --exclude-standard plugins/sdk/rust wasmhost/testdata/rust | tar -cT - | tar -xC $(WASM_AT)
	@build() { (cd $(WASM_AT)/$$1 && shift && \
		CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$(WASM_AT)=/src" CARGO_TARGET_DIR="$(CURDIR)/dist/rust" \
		cargo build --locked --offline --release --target wasm32-wasip1 --bins "$$@") }; \
		build wasmhost/testdata/rust && build plugins/sdk/rust -p threshold -p counter
	@for name in trigger action output threshold counter; do \
		install -m 644 dist/rust/wasm32-wasip1/release/$$name.wasm wasmhost/testdata/rust/; done
	@rm -rf $(WASM_AT)

# What another compiler makes has other bytes, so only the one that made them is asked.
.PHONY: wasmcheck
wasmcheck: ## hold the committed Rust guests to what a checkout at another path makes of their sources
	@made=$$(sed -n 's/^Made by \(rustc [0-9.]*\)\..*/\1/p' wasmhost/testdata/rust/README.md); \
	case "$$(rustc --version 2>/dev/null)" in \
	"$$made "*) ;; \
	*) echo "no $$made here: the Rust guests are not built again"; exit 0 ;; \
	esac; \
	at=$$(mktemp -d) && trap 'rm -rf "$$at"' EXIT && git init -q "$$at" && \
	git ls-files -co --exclude-standard Makefile plugins/sdk/rust wasmhost/testdata/rust | tar -cT - | tar -xC "$$at" && \
	$(MAKE) --no-print-directory -C "$$at" wasm && \
	for f in wasmhost/testdata/rust/*.wasm; do cmp "$$f" "$$at/$$f" || exit 1; done

hostile: ## build the corpus of hostile modules from its text (needs wabt)
	@for text in wasmhost/testdata/hostile/*.wat; do wat2wasm -o "$${text%.wat}.wasm" "$$text"; done

.PHONY: fuzz
fuzz: ## fuzz every target for FUZZTIME; that time may end amid an input, which is no finding
	@FUZZTIME=$(FUZZTIME) go run ./internal/housekeeping fuzz

.PHONY: bench
bench: ## measure the numbers to hold; ROWS=N4,N6 only those
	go run ./internal/bench -rows '$(ROWS)'

.PHONY: edges
edges: ## build the agent for every platform into dist and hold it to its size
	go run ./internal/housekeeping edges

.PHONY: demo
demo: ## a hub and agents on this machine, with a workflow running
	go run . demo

.PHONY: clean
clean: ## remove what the targets above have built
	rm -rf dist stavily stavily-edge stavily-gateway
