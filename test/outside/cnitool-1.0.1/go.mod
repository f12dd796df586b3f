module github.com/enichain/enichain/test/outside/cnitool-1.0.1

go 1.26.0

tool github.com/containernetworking/cni/cnitool

require github.com/containernetworking/cni v1.0.1 // indirect
