# Bare `make` lists the targets.
SHELL    := /bin/bash
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unreleased)
GOARCH   ?= $(shell go env GOARCH)
DESTDIR  ?=
CLOUD    ?= aws
ROUNDS   ?= full
PLUGINS  := ./plugins/... ./cmd/...
RELEASE  := enichain-$(VERSION)-linux-$(GOARCH)
GOBUILD  := CGO_ENABLED=0 GOARCH=$(GOARCH) go build -trimpath -buildvcs=false -ldflags "-s -w -X github.com/enichain/enichain/core/about.Version=$(VERSION)"
KUBEVERSION = -X k8s.io/component-base/version.gitVersion=$(shell go -C test/kube/outside list -m -f '{{.Version}}' k8s.io/kubernetes)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build the plugins, the drivers and the lab into bin/
	$(GOBUILD) -o bin/ $(PLUGINS) ./test/enilab
	CGO_ENABLED=0 go -C test/outside build -trimpath -buildvcs=false -o ../../bin/ github.com/containernetworking/cni/cnitool

demo: ## bring the lab up, prove every walk of a packet, clean up; IPV6=1 for those of IPv6 too
	@test/setup demo
	@$(MAKE) --no-print-directory build
	bin/enilab demo -cloud $(CLOUD) $(if $(IPV6),-ipv6)

test: setup lint ## run all tests, as root, in namespaces of their own
	go test -race -count=1 -timeout 15m ./...

test-kube: ## run a real Kubernetes over the plugins, in the lab; the first build takes minutes
	@test/setup kube
	go -C test/kube/outside mod tidy -diff
	CGO_ENABLED=0 go -C test/kube/outside build -trimpath -buildvcs=false -ldflags "-s -w $(KUBEVERSION)" -o ../../../bin/kube/ tool
	go test -tags kube -count=1 -timeout 45m -failfast -v ./test/kube $(if $(UPDATE),-args -update)

bench: setup ## measure enichain beside its peers, and write docs/benchmarks.md; ROUNDS=short for a look
	@$(MAKE) --no-print-directory build
	bin/enilab bench -rounds $(ROUNDS) -write docs

microbench: setup ## run the benchmarks of single packages
	go test -run '^$$' -bench . -benchmem ./...

lint: ## gofumpt, go vet, staticcheck, tidy modules
	test/lint

install: build ## install the binaries and the conflist of CLOUD (aws, aws-dual, tencent, tencent-dual, static) below DESTDIR
	@test -e conflist/10-enichain-$(CLOUD).conflist || { echo "CLOUD is $(CLOUD): aws, aws-dual, tencent, tencent-dual or static is wanted" >&2; exit 1; }
	install -d $(DESTDIR)/opt/cni/bin $(DESTDIR)/etc/cni/net.d
	install -m 0755 bin/eni-ipam bin/eni-ptp bin/eni-snat bin/eni-cloud-* $(DESTDIR)/opt/cni/bin/
	install -d $(DESTDIR)/usr/local/bin
	install -m 0755 bin/enictl $(DESTDIR)/usr/local/bin/
	test -e $(DESTDIR)/etc/cni/net.d/10-enichain.conflist || install -m 0600 conflist/10-enichain-$(CLOUD).conflist $(DESTDIR)/etc/cni/net.d/10-enichain.conflist

dist: ## make a tarball of static binaries, with checksums
	rm -rf dist/$(RELEASE) && mkdir -p dist/$(RELEASE)
	$(GOBUILD) -o dist/$(RELEASE)/ $(PLUGINS)
	cp -r LICENSE README.md CHANGELOG.md conflist dist/$(RELEASE)/
	cd dist/$(RELEASE) && sha256sum eni* > SHA256SUMS
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C dist -czf dist/$(RELEASE).tar.gz $(RELEASE)
	cd dist && sha256sum $(RELEASE).tar.gz > $(RELEASE).tar.gz.sha256

setup:
	@test/setup

clean: ## remove what was built
	rm -rf bin dist

.PHONY: help build demo test test-kube bench microbench lint install dist setup clean
