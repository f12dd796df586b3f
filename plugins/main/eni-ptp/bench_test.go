package main

import (
	"testing"

	"github.com/enichain/enichain/core/netstate/nstest"
)

// BenchmarkAdd is an ADD on a prepared ENI, both plugins' processes and the store included. The DEL between two, which
// waits for RCU as each removal of a link does, is not counted.
func BenchmarkAdd(b *testing.B) {
	n := newNode(b)
	p := plugin{id: "a", netns: nstest.New(b).Path(), conf: n.conf("eni-1")}
	for b.Loop() {
		p.verb = "ADD"
		succeed(b, n.NS, p)
		b.StopTimer()
		p.verb = "DEL"
		succeed(b, n.NS, p)
		b.StartTimer()
	}
}
