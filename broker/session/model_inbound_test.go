package session

import (
	"slices"

	"github.com/penstockmq/penstock/broker/packet"
)

// modelInbound is Inbound without a thought for speed: one list of every acknowledgement that was ever owed,
// and one of every QoS 2 identifier.
type modelInbound struct {
	owed     []modelOwed
	receipts []modelReceipt
}

type modelOwed struct {
	Owed
	over bool // sent, or its connection is gone
}

type modelReceipt struct {
	id      uint16
	at      stage
	current bool
}

func (m *modelInbound) receipt(id uint16) *modelReceipt {
	for i := range m.receipts {
		if m.receipts[i].id == id {
			return &m.receipts[i]
		}
	}
	return nil
}

func (m *modelInbound) stage(id uint16) stage {
	if r := m.receipt(id); r != nil {
		return r.at
	}
	return unknown
}

func (m *modelInbound) receive(id uint16, at stage) {
	if r := m.receipt(id); r != nil {
		r.at, r.current = at, true
		return
	}
	m.receipts = append(m.receipts, modelReceipt{id, at, true})
}

func (m *modelInbound) forget(id uint16) {
	m.receipts = slices.DeleteFunc(m.receipts, func(r modelReceipt) bool { return r.id == id })
}

func (m *modelInbound) open() (n int) {
	for _, r := range m.receipts {
		if r.current {
			n++
		}
	}
	for _, w := range m.owed {
		if !w.over && w.QoS == 1 {
			n++
		}
	}
	return n
}

func (m *modelInbound) owing() (n int) {
	for _, w := range m.owed {
		if !w.over {
			n++
		}
	}
	return n
}

func (m *modelInbound) idle() bool { return m.owing() == 0 }

func (m *modelInbound) owe(id uint16, qos byte) (ticket uint64) {
	if qos == 2 {
		m.receive(id, max(storing, m.stage(id)))
	}
	m.owed = append(m.owed, modelOwed{Owed: Owed{ID: id, QoS: qos}})
	return uint64(len(m.owed) - 1)
}

func (m *modelInbound) ready(ticket uint64, id uint16, qos byte, code packet.Code) {
	m.owed[ticket].ready, m.owed[ticket].Code = true, code
	if qos != 2 {
		return
	}
	if code.Failed() {
		m.forget(id)
	} else if m.stage(id) == storing {
		m.receipt(id).at = stored
	}
	for i := range m.owed {
		if w := &m.owed[i]; !w.ready && w.QoS == 2 && w.ID == id {
			w.ready, w.Code = true, code
		}
	}
}

func (m *modelInbound) pop() (Owed, bool) {
	for i := range m.owed {
		w := &m.owed[i]
		if w.over {
			continue
		}
		w.over = w.ready
		return w.Owed, w.ready
	}
	return Owed{}, false
}

func (m *modelInbound) release(id uint16) (known, begun bool) {
	switch m.stage(id) {
	case stored:
		m.receipt(id).at = releasing
		return true, false
	case releasing:
		return true, true
	}
	return false, false
}

func (m *modelInbound) reset() {
	for i := range m.owed {
		m.owed[i].over = true
	}
}

func (m *modelInbound) reconnected() {
	for i := range m.receipts {
		m.receipts[i].current = false
		m.receipts[i].at = min(m.receipts[i].at, stored)
	}
}
