package session

import (
	"cmp"
	"maps"
	"slices"
)

// An extra is a delivery outside of the queue.
type extra struct {
	slot
	turn uint64 // when it took its phase: it grows from extra to extra
}

// PushExtra takes a delivery outside of the queue, to be sent now. It fails when the window is full,
// or the queue so long that no identifier is left. The identifier is none that the queue uses, and as far
// as possible from those it will use next; one that was freed is not used again soon.
func (o *Outbound) PushExtra(d Delivery) (id uint16, ok bool) {
	oldest := max(o.tail, 1)
	if o.head < o.reach {
		oldest = o.head
	} else if o.line.length > 0 {
		oldest = o.line.at(0).number
	}
	first, end := max(oldest+WindowMax/2, o.tail), oldest+WindowMax
	if o.inflight >= o.window || first >= end {
		return 0, false
	}
	if o.extras == nil {
		o.extras = make(map[uint16]*extra)
	}
	for range min(int(end-first), len(o.extras)+1) { // among so many one is free
		if o.lastExtra++; o.lastExtra < first || o.lastExtra >= end {
			o.lastExtra = first
		}
		if id = PacketID(o.lastExtra); o.extras[id] == nil {
			o.turns++
			o.extras[id] = &extra{slot: slot{Delivery: d, phase: sent}, turn: o.turns}
			o.inflight++
			return id, true
		}
	}
	return 0, false
}

// ReleasedExtras lists the deliveries outside of the queue whose PUBREL must be sent again after Resume,
// in the order of their PUBRECs [MQTT311-4.6.0-4].
func (o *Outbound) ReleasedExtras() (ids []uint16) {
	return slices.DeleteFunc(o.extrasInOrder(), func(id uint16) bool { return o.extras[id].phase != released })
}

// DropExtra takes back a delivery outside of the queue that could not be sent.
func (o *Outbound) DropExtra(id uint16) {
	if o.extras[id] != nil {
		delete(o.extras, id)
		o.inflight--
	}
}

// extrasInOrder lists the identifiers of the extras in the order of their turns.
func (o *Outbound) extrasInOrder() []uint16 {
	if len(o.extras) == 0 {
		return nil
	}
	return slices.SortedFunc(maps.Keys(o.extras), func(a, b uint16) int {
		return cmp.Compare(o.extras[a].turn, o.extras[b].turn)
	})
}

// releaseExtra notes that an extra's PUBREL is due. Whoever delivered it has been told by then.
func (o *Outbound) releaseExtra(id uint16) {
	e := o.extras[id]
	o.turns++
	e.phase, e.Tag, e.turn = released, nil, o.turns
}
