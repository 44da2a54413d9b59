package bridge

import (
	"sync"

	"github.com/penstockmq/penstock/broker/packet"
)

// A debt is an acknowledgement that is owed to the other broker.
type debt struct {
	id    uint16
	qos   byte
	ready bool // the log has the message
}

// debts are acknowledgements in the order in which the messages came: that is the order in which they must leave [MQTT5-4.6.0-2]
// [MQTT5-4.6.0-3] [MQTT311-4.6.0-2] [MQTT311-4.6.0-3], whatever the order in which the store is done.
type debts struct {
	mu    sync.Mutex // guards what follows
	room  sync.Cond
	all   []*debt
	max   int
	ended bool
}

func newDebts(max int) *debts {
	d := &debts{max: max}
	d.room.L = &d.mu
	return d
}

// owe notes a message that came. While there are too many it waits, so that nothing more is read.
func (ds *debts) owe(id uint16, qos byte) *debt {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for len(ds.all) >= ds.max && !ds.ended {
		ds.room.Wait()
	}
	d := &debt{id: id, qos: qos}
	ds.all = append(ds.all, d)
	return d
}

// settle notes that a message is safe.
func (ds *debts) settle(d *debt) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d.ready = true
}

// due takes those that can be paid now.
func (ds *debts) due() []*debt {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	n := 0
	for n < len(ds.all) && ds.all[n].ready {
		n++
	}
	if n == 0 {
		return nil
	}
	paid := ds.all[:n:n]
	ds.all = ds.all[n:]
	ds.room.Broadcast()
	return paid
}

// end lets go who waits.
func (ds *debts) end() {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.ended = true
	ds.room.Broadcast()
}

// answer is the packet that pays a debt.
func (d *debt) answer() packet.Type {
	if d.qos == 2 {
		return packet.PUBREC
	}
	return packet.PUBACK
}

// A taken message of QoS 2 is remembered by its identifier until PUBREL.
type takenMessage struct {
	stored bool
	debt   *debt // of the connection on which it came last
	debts  *debts
}

// taken are the identifiers of QoS 2 that the other broker has not released. They outlive a connection, and what is in the store
// outlives the process.
type taken struct {
	mu   sync.Mutex // guards what follows
	byID map[uint16]*takenMessage
}

// take notes that a message came. first is false if it came before, and then it must not be published again.
func (t *taken) take(id uint16, d *debt, ds *debts) (m *takenMessage, first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m = t.byID[id]; m == nil {
		m = &takenMessage{debt: d, debts: ds}
		t.byID[id] = m
		return m, true
	}
	m.debt, m.debts = d, ds
	if m.stored {
		ds.settle(d)
	}
	return m, false
}

// store notes that a message and its identifier are in the log.
func (t *taken) store(m *takenMessage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m.stored = true
	m.debts.settle(m.debt)
}

// known reports whether an identifier is to be released.
func (t *taken) known(id uint16) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id] != nil
}

func (t *taken) forget(id uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byID, id)
}

// restore notes what the store had.
func (t *taken) restore(ids []uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID = make(map[uint16]*takenMessage, len(ids))
	for _, id := range ids {
		t.byID[id] = &takenMessage{stored: true}
	}
}
