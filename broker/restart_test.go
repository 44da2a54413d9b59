package broker

import (
	"sync/atomic"

	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/storage"
)

// A plug is a store that can lose its power: from then on what is written goes nowhere, and nobody hears of it.
type plug struct {
	storage.Store
	pulled atomic.Bool
}

// Enqueue implements storage.Store.
func (p *plug) Enqueue(e *storage.Enqueue, w storage.Waiter) (pending bool, err error) {
	if p.pulled.Load() {
		return true, nil
	}
	return p.Store.Enqueue(e, w)
}

// Update implements storage.Store.
func (p *plug) Update(changes []storage.Change, w storage.Waiter) (pending bool, err error) {
	if p.pulled.Load() {
		return true, nil
	}
	return p.Store.Update(changes, w)
}

// Ack implements storage.Store.
func (p *plug) Ack(a storage.Ack, w storage.Waiter) (pending bool, err error) {
	if p.pulled.Load() {
		return true, nil
	}
	return p.Store.Ack(a, w)
}

// broker is the one that runs now.
func (s *storm) broker() *Broker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b
}

// begin starts a broker on what the last one left.
func (s *storm) begin() {
	store := s.power(s.memory)
	b := startOnly(s.t, setup{store: store, limits: stormLimits})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b, s.store = b, store
}

// interrupt restarts the broker some times, spread over the messages.
func (s *storm) interrupt(times int) {
	for i := range times {
		until(s.t, "more messages arrive", func() bool { return s.heard.Load() > int64(1000*(i+1)) })
		s.restart(s)
	}
}

// orderly stops the broker and starts another.
func (s *storm) orderly() {
	stop(s.t, s.broker())
	s.memory = s.memory.Reopen()
	s.begin()
}

// powerCut has the store lose everything that was not written, and everything from now on.
func (s *storm) powerCut() {
	s.store.pulled.Store(true)
	s.orderly()
}

// stormLimits make windows fill up.
func stormLimits(l *configs.Limits) { l.MaxInflight = stressWindow }
