package storagetest

import (
	"bytes"
	"slices"
	"sync"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// Numbered is a Held that is a storage.Batcher: it numbers entries when it is asked, long before it writes
// them. It knows the queues that begin while it is there.
type Numbered struct {
	*Held

	mu   sync.Mutex // guards what follows; held around writes, so that numbers are given in their order
	last map[string]uint64
}

// HoldNumbered is Hold for a Store whose entries are numbered at once.
func HoldNumbered(inner storage.Store) *Numbered { return number(Hold(inner)) }

// HoldNumberedAsync is HoldAsync for a Store whose entries are numbered at once.
func HoldNumberedAsync(inner storage.Store) *Numbered { return number(HoldAsync(inner)) }

func number(h *Held) *Numbered { return &Numbered{Held: h, last: make(map[string]uint64)} }

// EnqueueAll implements storage.Batcher.
func (n *Numbered) EnqueueAll(batch []storage.Enqueue, w storage.Waiter) (pending bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range batch {
		e := &batch[i]
		n.numberLocked(e)
		kept := *e // who asked reads the numbers while the inner Store may set them
		kept.To = slices.Clone(e.To)
		kept.Message = copyOf(e.Message)
		if e.Received != nil {
			kept.Received = new(*e.Received)
		}
		last := w
		if i < len(batch)-1 {
			last = nil
		}
		if pending, err = n.Held.Enqueue(&kept, last); err != nil {
			return false, err
		}
	}
	return pending, nil
}

// copyOf is a message of its own: who asked may use the other again, and the inner Store keeps what it has.
func copyOf(m *packet.Message) *packet.Message {
	own := *m
	own.Payload, own.Properties = bytes.Clone(m.Payload), bytes.Clone(m.Properties)
	return &own
}

// Enqueue implements storage.Store.
func (n *Numbered) Enqueue(e *storage.Enqueue, w storage.Waiter) (pending bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.numberLocked(e)
	return n.Held.Enqueue(e, w)
}

func (n *Numbered) numberLocked(e *storage.Enqueue) {
	for i := range e.To {
		to := &e.To[i]
		n.last[to.Session]++
		to.Seq = n.last[to.Session]
	}
}

// AckAll implements storage.Batcher.
func (n *Numbered) AckAll(acks []storage.Ack, _ storage.Teller) error {
	for _, a := range acks {
		if _, err := n.Ack(a, nil); err != nil {
			return err
		}
	}
	return nil
}

// Skip implements storage.Batcher. The inner Store must have no queue yet.
func (n *Numbered) Skip(sessions []string, numbers int, w storage.Waiter) (pending bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range sessions {
		n.last[id] += uint64(numbers)
	}
	return n.Update(nil, w)
}
