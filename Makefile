# make test    everything that must pass, the broker's tests with both drivers; sets up what it needs (see .ci/setup)
# make race    the tests again and again under the race detector, in random order
# make fuzz    each fuzz target for FUZZTIME
# make crash   KILLS kills of the broker under load; make powercut, CUTS power cuts; make crash-bites, their proof
# make bridge-faults   FAULTS faults of links and brokers under load; make bridge-backlog, BACKLOG messages that wait for a link
# make channel-crash  KILLS kills of a broker whose channels are at work; make channel-powercut, CUTS power cuts; make
#              channel-bites, their proof; make clicks, CLICKS messages for three channels whose workers are killed
# make guard   what a delivery allocates, and its time as a ratio to a fixed loop; part of make test
# make bench   this broker beside mosquitto and what else is installed; writes the tables of docs/performance.md. About half an
#              hour, on a machine that does nothing else; goes on where it was interrupted:
#              make bench BENCH='--cases live --rounds 5'
# make benchmarks  the Go benchmarks
# make spec    docs/spec.md from the citations in the code
# make dist    binaries for six platforms, with checksums, in dist/
# make image-root  the Docker image's root file system, built and started without Docker

GO       ?= go
FUZZTIME ?= 10m
ROUNDS   ?= 5
KILLS    ?= 500
CUTS     ?= 200
FAULTS   ?= 200
BACKLOG  ?= 2000000
CLICKS   ?= 1000000
BENCH    ?=
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
TOOLS     := $(CURDIR)/.tools/bin

# Tools are no dependencies of the broker, so their versions stand here and not in go.mod.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# The version comes from VERSION, so a checkout whose owner git distrusts builds too.
BUILD := $(GO) build -buildvcs=false

.PHONY: test setup check build guard race crash powercut crash-bites bridge-faults bridge-backlog channel-crash channel-powercut channel-bites clicks fuzz bench benchmarks spec dist image-root clean

# The last lines are go test's own.
test: setup check build guard
	PENSTOCK_TEST_DRIVER=loop $(GO) test -race -count=1 -timeout 8m ./broker
	$(GO) test -race -count=1 -timeout 8m ./...

setup: $(TOOLS)/staticcheck $(TOOLS)/govulncheck
	./.ci/setup

$(TOOLS)/staticcheck $(TOOLS)/govulncheck: Makefile
	GOBIN=$(TOOLS) $(GO) install $(if $(findstring staticcheck,$@),$(STATICCHECK),$(GOVULNCHECK))
	@touch $@

check: $(TOOLS)/staticcheck $(TOOLS)/govulncheck
	@unformatted=$$(find . -name '*.go' -not -path './.*' | xargs gofmt -l); \
		test -z "$$unformatted" || { echo "gofmt: $$unformatted" >&2; exit 1; }
	$(GO) vet ./...
	$(TOOLS)/staticcheck ./...
	./.ci/vulnerabilities $(TOOLS)/govulncheck

build:
	$(BUILD) ./...

# Without the race detector, which takes time and allocates.
guard:
	$(GO) test -count=1 -run 'Guard|Allocat' ./broker/...

race:
	$(GO) test -race -count=$(ROUNDS) -shuffle=on -timeout 60m ./...

# Kills of the broker process under load, power cuts, and the proof that both find what they are there for.
crash:
	KILLS=$(KILLS) $(GO) test -count=1 -v -timeout 2h -run '^TestKill$$' ./test/crash

powercut:
	CUTS=$(CUTS) $(GO) test -count=1 -v -timeout 2h -run '^TestPowerCut$$' ./test/crash
	TRUNCATIONS=100 $(GO) test -count=1 -timeout 2h -run '^TestTruncatedFiles$$' ./test/crash

crash-bites:
	BITES=1 $(GO) test -count=1 -v -timeout 2h -run '^Test(No)?Fault|WithoutSync' ./test/crash

channel-crash:
	CHANNEL_KILLS=$(KILLS) $(GO) test -count=1 -v -timeout 2h -run '^TestChannelKill$$' ./test/crash

channel-powercut:
	CHANNEL_CUTS=$(CUTS) $(GO) test -count=1 -v -timeout 2h -run '^TestChannelPowerCut$$' ./test/crash

channel-bites:
	BITES=1 $(GO) test -count=1 -v -timeout 2h -run '^TestChannelFault' ./test/crash

clicks:
	CLICKS=$(CLICKS) $(GO) test -count=1 -v -timeout 2h ./test/clicks

# Edge and hub, and three hosts, under load while links are cut and brokers killed; and a week without a link.
bridge-faults:
	FAULTS=$(FAULTS) $(GO) test -count=1 -v -timeout 2h -run '^(TestFaults|TestThreeHosts)$$' ./test/bridge

bridge-backlog:
	BACKLOG=$(BACKLOG) $(GO) test -count=1 -v -timeout 1h -run '^TestBacklog$$' ./test/bridge

fuzz:
	@for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

# The version leaves docs out: the page that this writes must not make another program of the next, which goes on with this one's state.
bench: VERSION := $(shell git describe --tags --always 2>/dev/null || echo unknown)$(shell git diff --quiet HEAD -- . ':!docs' 2>/dev/null || echo -dirty)
bench:
	$(BUILD) -ldflags '-X main.version=$(VERSION)' -o $(TOOLS)/penstock ./cmd/penstock
	$(TOOLS)/penstock bench compare --into docs/performance.md --state $(TOOLS)/bench.state --limit 38m $(BENCH)

benchmarks:
	$(GO) test -run '^$$' -bench . -benchmem ./...

spec:
	$(GO) run ./test/spec

dist:
	@rm -rf dist && mkdir dist
	@for platform in $(PLATFORMS); do \
		os=$${platform%/*} arch=$${platform#*/} end=; \
		test $$os != windows || end=.exe; \
		file=penstock_$(VERSION)_$${os}_$$arch$$end; \
		echo "dist/$$file"; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch $(BUILD) -trimpath \
			-ldflags '-s -w -X main.version=$(VERSION)' -o dist/$$file ./cmd/penstock || exit 1; \
	done
	@cd dist && sha256sum penstock_* > SHA256SUMS

image-root:
	$(GO) test -count=1 -v ./test/image

clean:
	rm -rf dist .tools
