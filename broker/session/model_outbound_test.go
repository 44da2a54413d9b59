package session

import (
	"cmp"
	"slices"
)

// modelOutbound is Outbound as one would write it without a thought for speed: lists that are searched from
// end to end. It has its own idea of everything but the identifiers of extras, of which it only checks that
// they are free.
type modelOutbound struct {
	entries []modelEntry // what is not done, by number
	missing []uint64     // numbers below tail that have not come, ascending
	tail    uint64
	window  int
	maxAge  int64
	extras  []modelExtra // in the order they took their phase
}

type modelEntry struct {
	number  uint64
	d       Delivery
	phase   phase
	stepped bool // on this connection
}

type modelExtra struct {
	id       uint16
	d        Delivery
	released bool
}

func (m *modelOutbound) head() uint64 {
	head := m.tail
	if len(m.entries) > 0 {
		head = m.entries[0].number
	}
	if len(m.missing) > 0 {
		head = min(head, m.missing[0])
	}
	return head
}

func (m *modelOutbound) bytes() (size int64) {
	for _, e := range m.entries {
		size += int64(e.d.Message.Size())
	}
	return size
}

func (m *modelOutbound) inflight() (n int) {
	if m.window == 0 {
		return 0
	}
	for _, e := range m.entries {
		if e.stepped {
			n++
		}
	}
	return n + len(m.extras)
}

func (m *modelOutbound) room() bool {
	waits := slices.ContainsFunc(m.entries, func(e modelEntry) bool { return !e.stepped })
	return m.inflight() < m.window && !waits && len(m.missing) == 0 && m.tail-m.head() < WindowMax
}

func (m *modelOutbound) has(n uint64) bool {
	return n < m.head() || n < m.tail && !slices.Contains(m.missing, n)
}

func (m *modelOutbound) awaits(n uint64) bool { return slices.Contains(m.missing, n) }

func (m *modelOutbound) sent() (numbers []uint64) {
	for _, e := range m.entries {
		if e.phase == sent {
			numbers = append(numbers, e.number)
		}
	}
	return numbers
}

func (m *modelOutbound) put(n uint64, d Delivery, at phase) {
	for m.tail = max(m.tail, 1); m.tail <= n; m.tail++ {
		m.missing = append(m.missing, m.tail)
	}
	m.missing = slices.DeleteFunc(m.missing, func(x uint64) bool { return x == n })
	m.entries = append(m.entries, modelEntry{number: n, d: d, phase: at})
	slices.SortFunc(m.entries, func(a, b modelEntry) int { return cmp.Compare(a.number, b.number) })
}

func (m *modelOutbound) skip(n uint64) { m.tail = max(m.tail, n) }

func (m *modelOutbound) remove(n uint64) {
	m.entries = slices.DeleteFunc(m.entries, func(e modelEntry) bool { return e.number == n })
}

func (m *modelOutbound) extraAt(id uint16) int {
	return slices.IndexFunc(m.extras, func(e modelExtra) bool { return e.id == id })
}

// blocked says that the number n cannot be handed out now.
func (m *modelOutbound) blocked(n uint64) bool {
	older := slices.ContainsFunc(m.missing, func(x uint64) bool { return x < n })
	return older || m.inflight() >= m.window || n-m.head() >= WindowMax || m.extraAt(PacketID(n)) >= 0
}

// pubrel is the first PUBREL to be sent again; only what was never sent holds it up.
func (m *modelOutbound) pubrel() *modelEntry {
	for i := range m.entries {
		e := &m.entries[i]
		older := slices.ContainsFunc(m.missing, func(x uint64) bool { return x < e.number })
		if m.window == 0 || e.phase == queued || older || e.number-m.head() >= WindowMax || m.extraAt(PacketID(e.number)) >= 0 {
			return nil
		}
		if e.phase == released && !e.stepped {
			return e
		}
	}
	return nil
}

func (m *modelOutbound) next(now int64) (Step, bool) {
	if e := m.pubrel(); e != nil {
		e.stepped = true
		return Step{Kind: SendPubrel, ID: PacketID(e.number), Number: e.number, Delivery: &e.d}, true
	}
	for i := range m.entries {
		e := &m.entries[i]
		if e.stepped {
			continue
		}
		if m.blocked(e.number) {
			return Step{}, false
		}
		step := Step{ID: PacketID(e.number), Number: e.number, Delivery: &Delivery{}, Dup: e.phase == sent}
		*step.Delivery = e.d
		old := m.maxAge > 0 && now-e.d.Message.Received > m.maxAge
		switch {
		case e.phase == queued && (e.d.Message.Expired(now) || old):
			step.Kind = DropExpired
			m.remove(e.number)
			return step, true
		case e.phase == queued:
			e.phase = sent
		}
		e.stepped = true
		return step, true
	}
	return Step{}, false
}

// acknowledge takes any acknowledgement: the one asked for is kind.
func (m *modelOutbound) acknowledge(kind ack, id uint16) answer {
	if i := m.extraAt(id); i >= 0 {
		e := m.extras[i]
		outcome := judge(kind, e.d.QoS, e.released)
		if outcome == Completed || outcome == Released {
			m.extras = slices.Delete(m.extras, i, i+1)
		}
		if outcome == Released {
			m.extras = append(m.extras, modelExtra{id, e.d, true})
		}
		return expected(outcome, 0, e.d)
	}
	for i := range m.entries {
		e := m.entries[i]
		if !e.stepped || PacketID(e.number) != id {
			continue
		}
		outcome := judge(kind, e.d.QoS, e.phase == released)
		if outcome == Completed {
			m.remove(e.number)
		}
		if outcome == Released {
			m.entries[i].phase = released
		}
		return expected(outcome, e.number, e.d)
	}
	return answer{outcome: Unknown}
}

// An ack is a kind of acknowledgement.
type ack int

const (
	ackPuback ack = iota
	ackPubrec
	ackPubrecFailed
	ackPubcomp
	acks // how many there are
)

// judge is the table of what an acknowledgement does.
func judge(kind ack, qos byte, isReleased bool) Outcome {
	switch {
	case qos == 1 && kind == ackPuback, qos == 2 && kind == ackPubrecFailed, qos == 2 && kind == ackPubcomp && isReleased:
		return Completed
	case qos == 2 && kind == ackPubrec && isReleased:
		return Repeated
	case qos == 2 && kind == ackPubrec:
		return Released
	}
	return Violation
}

// expected is an answer as it is told: a violation comes without the delivery.
func expected(outcome Outcome, number uint64, d Delivery) answer {
	if outcome == Violation {
		d = Delivery{}
	}
	return answer{outcome, number, d}
}

func (m *modelOutbound) suspend() (dropped []Delivery) {
	m.window = 0
	for i := range m.entries {
		m.entries[i].stepped = false
	}
	var kept, abandoned []modelExtra
	for _, e := range m.extras {
		if e.released {
			kept = append(kept, e)
			continue
		}
		dropped = append(dropped, e.d)
		if e.d.QoS == 2 {
			abandoned = append(abandoned, modelExtra{e.id, e.d, true})
		}
	}
	m.extras = append(kept, abandoned...)
	return dropped
}

func (m *modelOutbound) resume(window int) { m.window = max(0, min(window, WindowMax)) }

func (m *modelOutbound) releasedExtras() (ids []uint16) {
	for _, e := range m.extras {
		if e.released {
			ids = append(ids, e.id)
		}
	}
	return ids
}

func (m *modelOutbound) dropOldest() (uint64, Delivery, bool) {
	for _, e := range m.entries {
		if e.phase == queued {
			m.remove(e.number)
			return e.number, e.d, true
		}
	}
	return 0, Delivery{}, false
}

// evict takes out what follows the last message that was sent. The tail is then anywhere from after that one,
// least, to the first that went, most.
func (m *modelOutbound) evict() (deliveries int, bytes int64, least, most uint64) {
	keep := 0
	least = m.head()
	for i, e := range m.entries {
		if e.phase != queued {
			keep, least = i+1, e.number+1
		}
	}
	most = max(m.tail, least)
	for _, e := range m.entries[keep:] {
		deliveries++
		bytes += int64(e.d.Message.Size())
		most = min(most, e.number)
	}
	if len(m.missing) > 0 {
		most = min(most, m.missing[0])
	}
	m.entries, m.missing = m.entries[:keep], nil
	return deliveries, bytes, min(least, most), most
}
