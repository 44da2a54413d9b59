package main

import (
	"sync"

	"github.com/penstockmq/penstock/broker"
	"github.com/penstockmq/penstock/broker/listener"
)

// refusals counts the connections that listeners refused before the broker saw them, and
// adds them to what the broker counts.
type refusals struct {
	broker *broker.Broker // fixed before a listener serves

	mu       sync.Mutex // guards what follows; a leaf
	byReason map[string]uint64
}

func newRefusals() *refusals { return &refusals{byReason: make(map[string]uint64)} }

func (r *refusals) count(reason listener.Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byReason[string(reason)]++
}

// Stats is the broker's snapshot with the listeners' refusals in it.
func (r *refusals) Stats() broker.Stats {
	s := r.broker.Stats()
	r.mu.Lock()
	defer r.mu.Unlock()
	for reason, n := range r.byReason {
		s.Refused[reason] += n
	}
	return s
}
