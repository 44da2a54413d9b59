package session

import "github.com/penstockmq/penstock/broker/packet"

// A stage is how far a QoS 2 message from the client came.
type stage byte

const (
	unknown   stage = iota
	storing         // the store is writing it; PUBREC is owed
	stored          // PUBREC sent or ready to be
	releasing       // PUBREL came, the store is forgetting it; PUBCOMP is owed
)

// A receipt is what is known of one QoS 2 identifier.
type receipt struct {
	stage   stage
	current bool // its PUBLISH came on this connection
}

// owedKept is the most acknowledgements for which memory is kept while none is owed.
const owedKept = 64

// Inbound is what a session knows of messages from its client. The zero value is ready to use.
//
// The QoS 2 identifiers outlive the connection; those of QoS 1 are not kept: after PUBACK one
// is a new message's [MQTT5-4.3.2-5]. The acknowledgements that are owed do not outlive the connection:
// they are told in the order of their PUBLISH packets, whatever order they become ready in, as the
// specification asks of clients (MQTT 5, 4.6).
type Inbound struct {
	receipts map[uint16]receipt  // QoS 2 identifiers whose PUBREL has not come
	current  int                 // those of this connection
	owed     []Owed              // acknowledgements, oldest first
	gone     int                 // how many of them, from the oldest on, were sent
	first    uint64              // ticket of owed[0]
	owed1    int                 // PUBACKs that are owed
	repeats  map[uint16][]uint64 // tickets that wait for the same QoS 2 message as an earlier one
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
	in.owed, in.gone, in.owed1, in.repeats = nil, 0, 0, nil
	if len(in.receipts) == 0 {
		in.receipts = nil
	}
}

// Open is the number of QoS 1 and QoS 2 messages the client counts against our receive maximum: those it
// sent on this connection without PUBACK or PUBCOMP, or PUBREC with a failure. Its quota begins anew
// with each connection (MQTT 5, 4.9), so what it left open on an earlier one counts only if it sends it again.
func (in *Inbound) Open() int { return in.current + in.owed1 }

// Received reports whether the client sent a QoS 2 message with this identifier and not yet its PUBREL:
// another PUBLISH with it is the same message [MQTT5-4.3.3-10] [MQTT311-4.3.3-2]. ready tells whether
// PUBREC may be sent at once.
func (in *Inbound) Received(id uint16) (known, ready bool) {
	at := in.receipts[id].stage
	return at != unknown, at >= stored
}

// Owe notes that a PUBLISH came whose acknowledgement must wait, and returns its ticket.
// For QoS 2 the identifier counts as received from now on.
func (in *Inbound) Owe(id uint16, qos byte) (ticket uint64) {
	if in.gone > len(in.owed)/2 && len(in.owed) == cap(in.owed) {
		in.first += uint64(in.gone)
		in.owed, in.gone = in.owed[:copy(in.owed, in.owed[in.gone:])], 0
	}
	ticket = in.first + uint64(len(in.owed))
	in.owed = append(in.owed, Owed{ID: id, QoS: qos})
	if qos == 1 {
		in.owed1++
		return ticket
	}
	r := in.receipts[id]
	if r.stage == storing {
		if in.repeats == nil {
			in.repeats = make(map[uint16][]uint64)
		}
		in.repeats[id] = append(in.repeats[id], ticket)
	}
	in.receive(id, r, max(r.stage, storing))
	return ticket
}

// Owing is the number of acknowledgements that are owed.
func (in *Inbound) Owing() int { return len(in.owed) - in.gone }

// Idle reports whether no acknowledgement is owed: the next one may be sent at once.
func (in *Inbound) Idle() bool { return len(in.owed) == 0 }

// Keep notes that a QoS 2 identifier was received and its message is stored.
func (in *Inbound) Keep(id uint16) { in.receive(id, in.receipts[id], stored) }

// receive notes a PUBLISH with QoS 2 on this connection. r is what was known of its identifier.
func (in *Inbound) receive(id uint16, r receipt, at stage) {
	if in.receipts == nil {
		in.receipts = make(map[uint16]receipt)
	}
	if !r.current {
		in.current++
	}
	in.receipts[id] = receipt{at, true}
}

// Ready marks the acknowledgement with a ticket, and every one that waits for the same QoS 2 message, as
// ready with a code. A ticket of an earlier connection is harmless. A failed QoS 2 message is
// forgotten: its identifier is free again [MQTT5-4.3.3-9].
func (in *Inbound) Ready(ticket uint64, id uint16, qos byte, code packet.Code) {
	in.decide(ticket, code)
	if qos != 2 {
		return
	}
	if code.Failed() {
		in.Forget(id)
	} else if r := in.receipts[id]; r.stage == storing {
		in.receipts[id] = receipt{stored, r.current}
	}
	for _, repeat := range in.repeats[id] {
		in.decide(repeat, code)
	}
	delete(in.repeats, id)
}

// decide says what the acknowledgement with a ticket will be.
func (in *Inbound) decide(ticket uint64, code packet.Code) {
	if at := ticket - in.first; at >= uint64(in.gone) && at < uint64(len(in.owed)) {
		in.owed[at].ready, in.owed[at].Code = true, code
	}
}

// Pop takes the oldest owed acknowledgement if it is ready.
func (in *Inbound) Pop() (w Owed, ok bool) {
	if len(in.owed) == 0 || !in.owed[in.gone].ready {
		return Owed{}, false
	}
	w = in.owed[in.gone]
	if w.QoS == 1 {
		in.owed1--
	}
	if in.gone++; in.gone < len(in.owed) {
		return w, true
	}
	in.first += uint64(len(in.owed))
	in.owed, in.gone = in.owed[:0], 0
	if cap(in.owed) > owedKept {
		in.owed = nil
	}
	return w, true
}

// Release takes a PUBREL. known is false for an identifier that was not received; begun is true
// if a PUBREL for it is being handled already. Forget must follow, once the store has forgotten it.
func (in *Inbound) Release(id uint16) (known, begun bool) {
	switch r := in.receipts[id]; r.stage {
	case stored:
		in.receipts[id] = receipt{releasing, r.current}
		return true, false
	case releasing:
		return true, true
	}
	return false, false
}

// Forget frees a QoS 2 identifier: PUBCOMP may be sent, and what has it next is a new message [MQTT5-4.3.3-11]
// [MQTT5-4.3.3-12] [MQTT311-4.3.3-2].
func (in *Inbound) Forget(id uint16) {
	if in.receipts[id].current {
		in.current--
	}
	delete(in.receipts, id)
}

// Reconnected begins a new connection. It undoes a release that the last one did not see the end of: its
// PUBREL will come again.
func (in *Inbound) Reconnected() {
	in.current = 0
	for id, r := range in.receipts {
		in.receipts[id] = receipt{stage: min(r.stage, stored)}
	}
}
