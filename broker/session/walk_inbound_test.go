package session

import (
	"slices"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
)

// An inboundWalk drives Inbound and its model as a broker would: publishers, a store that answers late and in
// any order, and connections that break.
type inboundWalk struct {
	chooser
	t       *testing.T
	real    Inbound
	model   modelInbound
	storing []storingPublish
	freeing []uint16 // identifiers whose PUBREL waits for the store
}

type storingPublish struct {
	ticket, modelTicket uint64
	id                  uint16
	qos                 byte
}

func walkInbound(t *testing.T, c chooser) {
	t.Helper()
	w := &inboundWalk{chooser: c, t: t}
	for id := range uint16(w.choose(4)) { // from the store
		w.real.Keep(id + 1)
		w.model.receive(id+1, stored)
	}
	w.connect()
	for !w.over() {
		w.step()
		w.check()
	}
}

func (w *inboundWalk) step() {
	id := uint16(w.choose(6) + 1)
	switch w.choose(9) {
	case 0, 1:
		w.publish(id, 1)
	case 2, 3:
		w.publish(id, 2)
	case 4, 5:
		w.answer()
	case 6:
		w.release(id)
	case 7:
		w.free()
	case 8:
		if w.chance(8) {
			w.real.Reset()
			w.model.reset()
			if w.chance(2) {
				w.answer() // while nobody is there
			}
			w.connect()
		}
	}
}

func (w *inboundWalk) connect() {
	w.real.Reconnected()
	w.model.reconnected()
}

func (w *inboundWalk) owe(id uint16, qos byte) storingPublish {
	return storingPublish{w.real.Owe(id, qos), w.model.owe(id, qos), id, qos}
}

func (w *inboundWalk) ready(p storingPublish, code packet.Code) {
	w.real.Ready(p.ticket, p.id, p.qos, code)
	w.model.ready(p.modelTicket, p.id, p.qos, code)
}

func (w *inboundWalk) publish(id uint16, qos byte) {
	if qos == 2 {
		known, ready := w.real.Received(id)
		if at := w.model.stage(id); known != (at != unknown) || ready != (at >= stored) {
			w.t.Fatalf("Received(%d): %v, %v; want stage %d", id, known, ready, at)
		}
		if known {
			if p := w.owe(id, 2); ready {
				w.ready(p, packet.Success)
			}
			return
		}
		if slices.Contains(w.freeing, id) {
			return // no client uses an identifier again before PUBCOMP
		}
	}
	if w.chance(2) {
		w.storing = append(w.storing, w.owe(id, qos))
		return
	}
	if qos == 2 { // nobody has to store it
		w.real.Keep(id)
		w.model.receive(id, stored)
	}
	w.ready(w.owe(id, qos), packet.Success)
}

// answer lets the store be done with one message, or refuse it.
func (w *inboundWalk) answer() {
	if len(w.storing) == 0 {
		return
	}
	i := w.choose(len(w.storing))
	p := w.storing[i]
	w.storing = append(w.storing[:i], w.storing[i+1:]...)
	code := packet.Success
	if w.chance(4) {
		code = packet.QuotaExceeded
	}
	w.ready(p, code)
}

func (w *inboundWalk) release(id uint16) {
	known, begun := w.real.Release(id)
	if k, b := w.model.release(id); known != k || begun != b {
		w.t.Fatalf("Release(%d): %v, %v; want %v, %v", id, known, begun, k, b)
	}
	if known && !begun {
		w.freeing = append(w.freeing, id)
	}
}

func (w *inboundWalk) free() {
	if len(w.freeing) == 0 {
		return
	}
	id := w.freeing[0]
	w.freeing = w.freeing[1:]
	w.real.Forget(id)
	w.model.forget(id)
}

func (w *inboundWalk) check() {
	w.t.Helper()
	for {
		got, ok := w.real.Pop()
		want, wantOK := w.model.pop()
		if ok != wantOK || ok && got != want {
			w.t.Fatalf("Pop: %+v, %v; want %+v, %v", got, ok, want, wantOK)
		}
		if !ok {
			break
		}
		if w.chance(2) {
			break // the rest waits for the next time
		}
	}
	if w.real.Owing() != w.model.owing() {
		w.t.Fatalf("Owing %d, want %d", w.real.Owing(), w.model.owing())
	}
	if w.real.Open() != w.model.open() || w.real.Idle() != w.model.idle() {
		w.t.Fatalf("Open %d, Idle %v; want %d, %v", w.real.Open(), w.real.Idle(), w.model.open(), w.model.idle())
	}
}
