# make            bin/goum, with its initramfs built in
# make run        build, and boot to a prompt
# make test       all tests, as CI runs them; installs what only tests need
# make check      formatting, vet, staticcheck, the project's own rules, the short tests (plain, -race, lockcheck): before a commit
# make bench      micro-benchmarks: native and guest in turn, beside what peers reach
# make fuzz       every fuzz target for FUZZTIME
# make fmt        gofmt, go.mod, and the generated documents

GO        ?= go
# One file that runs anywhere, whether this machine has a C compiler or not.
export CGO_ENABLED = 0
FUZZTIME  ?= 10s
INITRAMFS := rootfs/initramfs.cpio
SOURCES   := $(shell find cmd kernel mm skas stub physmem sched arch rootfs -name '*.go' -o -name '*.s' | grep -v -e _test.go -e rootfs/build/)

.DELETE_ON_ERROR:
.PHONY: all run test check bench fuzz fmt clean test-tools

all: bin/goum

bin/goum: $(SOURCES) go.mod go.sum $(INITRAMFS)
	$(GO) build -trimpath -tags initramfs -o $@ ./cmd/goum

# Half a minute, and it changes with its own sources only; two builds are the same to the byte.
$(INITRAMFS): $(shell find rootfs/build -type f)
	cd rootfs/build && $(GO) run . -o ../initramfs.cpio

run: bin/goum
	bin/goum

test: bin/goum test-tools
	scripts/test

# What tests use beyond Go: a C compiler for guest programs, musl, a static busybox.
test-tools:
	scripts/test-tools

check: bin/goum
	scripts/check

bench: bin/goum test-tools
	$(GO) run ./scripts/bench

fuzz: bin/goum
	FUZZTIME=$(FUZZTIME) scripts/fuzz

fmt:
	@mkdir -p bin
	gofmt -w $$(find . -name '*.go' -not -path './.*')
	$(GO) mod tidy
	$(GO) -C rootfs/build mod tidy
	$(GO) run ./scripts/compat > bin/compatibility.md && mv bin/compatibility.md docs/compatibility.md

clean:
	rm -rf bin $(INITRAMFS)
