package client

import "sync"

// A ledger knows the deliveries of one connection that are not settled. Where order matters it
// passes settlements on in the order in which the messages came, whatever order they are settled in.
type ledger struct {
	// Fixed when newLedger returns.
	inOrder bool
	pass    func([]settlement)

	mu     sync.Mutex     // guards what follows; held while settlements are passed on, so that they keep their order
	lines  [3][]*Delivery // oldest first, by QoS: each has acknowledgements and an order of its own
	closed bool
	taken  bool // the broker has taken back what is not settled
}

func newLedger(inOrder bool, pass func([]settlement)) *ledger {
	return &ledger{inOrder: inOrder, pass: pass}
}

// add notes a delivery. Without an order to keep there is nothing to note.
func (l *ledger) add(d *Delivery) {
	if !l.inOrder || d.QoS == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines[d.QoS] = append(l.lines[d.QoS], d)
}

func (l *ledger) settle(state deliveryState, r *refusal, deliveries ...*Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var due []settlement
	for _, d := range deliveries {
		if d.state != deliveryOpen {
			continue
		}
		d.state, d.refusal = state, r
		if !l.inOrder && state == deliverySettled && d.QoS > 0 {
			due = append(due, settlement{d.receipt, r})
		}
	}
	if l.inOrder {
		due = l.dueLocked()
	}
	if len(due) > 0 && !l.closed {
		l.pass(due)
	}
}

// dueLocked takes what is settled from the front. A delivery that is left makes way for those behind it.
func (l *ledger) dueLocked() (due []settlement) {
	for qos, line := range l.lines {
		n := 0
		for n < len(line) && line[n].state != deliveryOpen {
			if d := line[n]; d.state == deliverySettled {
				due = append(due, settlement{d.receipt, d.refusal})
			}
			line[n] = nil
			n++
		}
		l.lines[qos] = line[n:]
	}
	return due
}

// close ends the passing on: the connection is gone. With taken, the broker delivers what is not settled again.
func (l *ledger) close(taken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed, l.taken = true, taken
}

func (l *ledger) void() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken
}
