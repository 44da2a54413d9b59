package session

import "github.com/penstockmq/penstock/broker/packet"

// A receipt is how far a QoS 2 message from the client came.
type receipt byte

const (
	unknown   receipt = iota
	storing           // the store is writing it; PUBREC is owed
	stored            // PUBREC sent or ready to be
	releasing         // PUBREL came, the store is forgetting it; PUBCOMP is owed
)

// Inbound is what a session knows of messages from its client. The zero value is ready to use.
//
// The QoS 2 identifiers outlive the connection; the acknowledgements that are owed do not:
// they are told in the order of their PUBLISH packets, whatever order they become ready in
// [MQTT311-4.6.0-2] [MQTT311-4.6.0-3].
type Inbound struct {
	receipts map[uint16]receipt // QoS 2 identifiers whose PUBREL has not come
	owed     []Owed             // acknowledgements not sent, oldest first
	first    uint64             // ticket of owed[0]
	owed1    int                // PUBACKs among them
}

// Owed is one acknowledgement that the client waits for.
type Owed struct {
	ID    uint16
	QoS   byte // 1: PUBACK, 2: PUBREC
	Code  packet.Code
	ready bool
}

// Reset forgets what was owed on the last connection.
func (in *Inbound) Reset() {
	in.first += uint64(len(in.owed))
	in.owed, in.owed1 = nil, 0
}

// Open is the number of QoS 1 and QoS 2 messages the client counts against our receive maximum:
// those without PUBACK or PUBCOMP, or PUBREC with a failure (MQTT 5, 4.9).
func (in *Inbound) Open() int { return len(in.receipts) + in.owed1 }

// Received reports whether the client sent a QoS 2 message with this identifier and not yet its PUBREL:
// another PUBLISH with it is the same message [MQTT5-4.3.3-10] [MQTT311-4.3.3-2]. ready tells whether PUBREC may be sent at once.
func (in *Inbound) Received(id uint16) (known, ready bool) {
	r := in.receipts[id]
	return r != unknown, r >= stored
}

// Owe notes that a PUBLISH came whose acknowledgement must wait, and returns its ticket.
// For QoS 2 the identifier counts as received from now on.
func (in *Inbound) Owe(id uint16, qos byte) (ticket uint64) {
	switch {
	case qos == 1:
		in.owed1++
	case in.receipts[id] == unknown:
		in.set(id, storing)
	}
	in.owed = append(in.owed, Owed{ID: id, QoS: qos})
	return in.first + uint64(len(in.owed)) - 1
}

// Idle reports whether no acknowledgement is owed: the next one may be sent at once.
func (in *Inbound) Idle() bool { return len(in.owed) == 0 }

// Keep notes that a QoS 2 identifier was received and its message is stored.
func (in *Inbound) Keep(id uint16) { in.set(id, stored) }

func (in *Inbound) set(id uint16, r receipt) {
	if in.receipts == nil {
		in.receipts = make(map[uint16]receipt)
	}
	in.receipts[id] = r
}

// Ready marks the acknowledgement with a ticket, and every one owed for the same QoS 2 identifier, as
// ready with a code. A ticket of an earlier connection is harmless. A failed QoS 2 message is forgotten: its identifier
// is free again [MQTT5-4.3.3-9].
func (in *Inbound) Ready(ticket uint64, id uint16, qos byte, code packet.Code) {
	if at := ticket - in.first; at < uint64(len(in.owed)) {
		in.owed[at].ready, in.owed[at].Code = true, code
	}
	if qos != 2 {
		return
	}
	if code.Failed() {
		delete(in.receipts, id)
	} else if in.receipts[id] == storing {
		in.set(id, stored)
	}
	for i := range in.owed {
		if w := &in.owed[i]; w.QoS == 2 && w.ID == id {
			w.ready, w.Code = true, code
		}
	}
}

// Pop takes the oldest owed acknowledgement if it is ready.
func (in *Inbound) Pop() (w Owed, ok bool) {
	if len(in.owed) == 0 || !in.owed[0].ready {
		return Owed{}, false
	}
	w = in.owed[0]
	in.first++
	if w.QoS == 1 {
		in.owed1--
	}
	if len(in.owed) == 1 {
		in.owed = in.owed[:0]
	} else {
		in.owed = in.owed[1:]
	}
	return w, true
}

// Release takes a PUBREL. known is false for an identifier that was not received; begun is true
// if a PUBREL for it is being handled already. Forget must follow, once the store has forgotten it.
func (in *Inbound) Release(id uint16) (known, begun bool) {
	switch in.receipts[id] {
	case stored:
		in.set(id, releasing)
		return true, false
	case releasing:
		return true, true
	}
	return false, false
}

// Forget frees a QoS 2 identifier: PUBCOMP may be sent [MQTT5-4.3.3-11] [MQTT311-4.3.3-2].
func (in *Inbound) Forget(id uint16) { delete(in.receipts, id) }

// Reconnected undoes a release that the last connection did not see the end of: its PUBREL will come again.
func (in *Inbound) Reconnected() {
	for id, r := range in.receipts {
		if r == releasing {
			in.receipts[id] = stored
		}
	}
}
