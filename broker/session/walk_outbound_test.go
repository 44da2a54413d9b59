package session

import (
	"cmp"
	"slices"
	"testing"
)

// residentMost is how much of a stored queue a walk keeps in memory.
const residentMost = 8

// An outboundWalk drives Outbound and its model as a broker would: publishers, a client that answers
// anything, connections with windows of any size, and for a durable session a store that numbers messages,
// tells of them out of order and is read in pages.
type outboundWalk struct {
	chooser
	t       *testing.T
	real    *Outbound
	model   *modelOutbound
	now     int64
	online  bool
	durable bool
	store   []storedMessage // not done, by number
	nextSeq uint64          // the store's next number
	untold  []uint64        // numbered, but the session does not know yet
	told    uint64          // number after the last that the session was told of
}

type storedMessage struct {
	number uint64
	d      Delivery
	phase  phase
}

func walkOutbound(t *testing.T, c chooser) {
	t.Helper()
	w := &outboundWalk{chooser: c, t: t}
	w.begin()
	for !w.over() {
		w.step()
		w.check()
	}
}

// begin starts a new session, durable or not, whose queue begins somewhere.
func (w *outboundWalk) begin() {
	w.online, w.durable = false, w.chance(2)
	first := []uint64{1, 65530, 98300, 1 << 40}[w.choose(4)]
	w.store, w.untold, w.nextSeq = nil, nil, first
	w.load(first)
}

// load makes a session of nothing but what the store has.
func (w *outboundWalk) load(first uint64) {
	age := int64(w.choose(2) * 50)
	w.real, w.model = &Outbound{MaxAge: age}, &modelOutbound{maxAge: age}
	w.skip(first)
	w.told = w.nextSeq
}

func (w *outboundWalk) step() {
	switch w.choose(16) {
	case 0, 1:
		w.publish()
	case 2, 3:
		w.tell()
	case 4, 5:
		w.next()
	case 6, 7, 8:
		w.answer()
	case 9:
		w.extra()
	case 10:
		w.page()
	case 11:
		w.now += int64(w.choose(30))
	case 12:
		w.dropOldest()
	case 13:
		w.jump()
	default:
		w.connection()
	}
}

// connection begins or ends one, now and then together with the broker or the session.
func (w *outboundWalk) connection() {
	if !w.online {
		w.connect()
		return
	}
	if !w.chance(4) {
		return
	}
	w.disconnect()
	switch w.choose(8) {
	case 0:
		w.end()
	case 1:
		w.restart()
	}
}

func (w *outboundWalk) delivery() Delivery {
	d := delivery("x", byte(1+w.choose(2)))
	d.Message.Received = w.now
	if w.chance(4) {
		d.Message.Expires = w.now + int64(w.choose(60)) + 1
	}
	return d
}

func (w *outboundWalk) publish() {
	for range 1 + w.choose(3) {
		d := w.delivery()
		if w.durable {
			w.store = append(w.store, storedMessage{w.nextSeq, d, queued})
			w.untold = append(w.untold, w.nextSeq)
			w.nextSeq++
			continue
		}
		want := max(w.model.tail, 1)
		w.model.put(want, d, queued)
		if number := w.real.Push(d); number != want {
			w.t.Fatalf("Push: number %d, want %d", number, want)
		}
	}
}

func (w *outboundWalk) stored(n uint64) int {
	return slices.IndexFunc(w.store, func(s storedMessage) bool { return s.number == n })
}

// tell lets the session know of a number, not always the oldest.
func (w *outboundWalk) tell() {
	if len(w.untold) == 0 {
		return
	}
	i := w.choose(min(4, len(w.untold)))
	n := w.untold[i]
	w.untold = slices.Delete(w.untold, i, i+1)
	behind := w.real.Tail() < w.told
	switch at := w.stored(n); {
	case at < 0: // read before and done
	case w.model.awaits(n):
		w.put(w.store[at])
	case w.model.has(n):
	case w.online && !behind && w.real.Len() < residentMost:
		w.put(w.store[at])
		fallthrough
	default:
		w.told = max(w.told, n+1)
	}
}

func (w *outboundWalk) put(s storedMessage) {
	w.real.Put(s.number, s.d)
	w.model.put(s.number, s.d, queued)
}

// page reads what follows from the store.
func (w *outboundWalk) page() {
	from := w.real.Tail()
	if !w.durable || !w.real.Room() || from >= w.told {
		return
	}
	read := 0
	for _, s := range w.store {
		if s.number < from || read >= 5 {
			continue
		}
		read++
		w.real.Restore(s.number, s.d, s.phase != queued, s.phase == released)
		w.model.skip(s.number)
		w.model.put(s.number, s.d, s.phase)
		w.told = max(w.told, s.number+1)
	}
	if read == 0 {
		w.skip(w.told)
	}
}

func (w *outboundWalk) skip(n uint64) {
	w.real.Skip(n)
	w.model.skip(n)
}

// jump goes on with a number far away, as after many messages that expired.
func (w *outboundWalk) jump() {
	if !w.chance(10) || len(w.untold) > 0 || w.real.Tail() < w.told {
		return
	}
	far := []uint64{1, 100, 32760, 65530, 70000}[w.choose(5)]
	w.skip(w.real.Tail() + far)
	w.nextSeq, w.told = w.real.Tail(), w.real.Tail()
}

func (w *outboundWalk) next() {
	for range 1 + w.choose(4) {
		got, ok := w.real.Next(w.now)
		want, wantOK := w.model.next(w.now)
		if ok != wantOK {
			w.t.Fatalf("Next: %+v, %v; want %+v, %v", got, ok, want, wantOK)
		}
		if !ok {
			return
		}
		if got.Delivery.Message != want.Delivery.Message {
			w.t.Fatalf("Next: another message; %+v, want %+v", got, want)
		}
		if got.Delivery, want.Delivery = nil, nil; got != want {
			w.t.Fatalf("Next: %+v, want %+v", got, want)
		}
		if got.Kind == DropExpired {
			w.done(got.Number)
		}
		if got.Kind == SendPublish && w.chance(8) { // too large
			w.real.Finish(got.Number)
			w.model.remove(got.Number)
			w.done(got.Number)
		}
	}
}

// done tells the store.
func (w *outboundWalk) done(n uint64) {
	if i := w.stored(n); i >= 0 {
		w.store = slices.Delete(w.store, i, i+1)
	}
}

// answer acknowledges something, mostly something there is.
func (w *outboundWalk) answer() {
	if !w.online {
		return
	}
	id := uint16(w.choose(1 << 16))
	if n := len(w.model.entries) + len(w.model.extras); n > 0 && !w.chance(8) {
		if i := w.choose(n); i < len(w.model.entries) {
			id = PacketID(w.model.entries[i].number)
		} else {
			id = w.model.extras[i-len(w.model.entries)].id
		}
	}
	kind := ack(w.choose(int(acks)))
	want := w.model.acknowledge(kind, id)
	got := w.realAnswer(kind, id)
	if got.outcome != want.outcome || got.number != want.number || got.d.Message != want.d.Message {
		w.t.Fatalf("acknowledgement %d of %d: %+v, want %+v", kind, id, got, want)
	}
	switch i := w.stored(got.number); {
	case i < 0:
	case got.outcome == Completed:
		w.done(got.number)
	case got.outcome == Released:
		w.store[i].phase = released
	}
}

func (w *outboundWalk) realAnswer(kind ack, id uint16) answer {
	switch kind {
	case ackPuback:
		return answered(w.real.Puback(id))
	case ackPubcomp:
		return answered(w.real.Pubcomp(id))
	}
	return answered(w.real.Pubrec(id, kind == ackPubrecFailed))
}

func (w *outboundWalk) extra() {
	d := w.delivery()
	full := w.model.inflight() >= w.model.window
	head := max(w.model.head(), 1)
	id, ok := w.real.PushExtra(d)
	if !ok {
		if !full && max(w.model.tail, 1)-head < WindowMax/2 {
			w.t.Fatal("PushExtra: no room")
		}
		return
	}
	ahead := (uint64(id) + 65535 - uint64(PacketID(head))) % 65535
	used := slices.ContainsFunc(w.model.entries, func(e modelEntry) bool {
		return PacketID(e.number) == id && e.phase != queued
	})
	if full || used || id == 0 || ahead < WindowMax/2 || w.model.extraAt(id) >= 0 {
		w.t.Fatalf("PushExtra: identifier %d, full %v, used %v, %d ahead", id, full, used, ahead)
	}
	if w.chance(4) {
		w.real.DropExtra(id)
		return
	}
	w.model.extras = append(w.model.extras, modelExtra{id: id, d: d})
}

func (w *outboundWalk) dropOldest() {
	if !w.chance(3) {
		return
	}
	number, d, ok := w.real.DropOldest()
	wantNumber, want, wantOK := w.model.dropOldest()
	if number != wantNumber || d.Message != want.Message || ok != wantOK {
		w.t.Fatalf("DropOldest: %d, %v; want %d, %v", number, ok, wantNumber, wantOK)
	}
	w.done(number)
}

func (w *outboundWalk) connect() {
	window := []int{1, 2, 3, 5, 20, 100_000}[w.choose(6)]
	w.real.Resume(window)
	w.model.resume(window)
	w.online = true
	if got, want := w.real.ReleasedExtras(), w.model.releasedExtras(); !slices.Equal(got, want) {
		w.t.Fatalf("ReleasedExtras: %d, want %d", got, want)
	}
}

func (w *outboundWalk) disconnect() {
	w.real.Sent(func(n uint64) {
		if i := w.stored(n); i >= 0 {
			w.store[i].phase = sent
		}
	})
	w.sameDeliveries("Suspend", w.real.Suspend(), w.model.suspend())
	w.online = false
	if !w.durable {
		return
	}
	deliveries, bytes := w.real.Evict()
	wantDeliveries, wantBytes, least, most := w.model.evict()
	w.model.tail = w.real.Tail()
	if deliveries != wantDeliveries || bytes != wantBytes || w.real.Tail() < least || w.real.Tail() > most {
		w.t.Fatalf("Evict: %d, %d, tail %d; want %d, %d, tail %d to %d",
			deliveries, bytes, w.real.Tail(), wantDeliveries, wantBytes, least, most)
	}
}

func (w *outboundWalk) sameDeliveries(of string, got, want []Delivery) {
	w.t.Helper()
	if !slices.EqualFunc(got, want, func(a, b Delivery) bool { return a.Message == b.Message }) {
		w.t.Fatalf("%s: %d deliveries, want %d, or others", of, len(got), len(want))
	}
}

// end drains the queue and begins another session.
func (w *outboundWalk) end() {
	var got, want []Delivery
	tail := w.real.Tail()
	w.real.Drain(func(d Delivery, wasSent bool) {
		if i := len(got); i < len(w.model.entries) && wasSent != (w.model.entries[i].phase != queued) {
			w.t.Fatalf("Drain: delivery %d was sent: %v", i, wasSent)
		}
		got = append(got, d)
	})
	for _, e := range w.model.entries {
		want = append(want, e.d)
	}
	w.sameDeliveries("Drain", got, want)
	if w.real.Tail() != tail || w.real.Len() != 0 || w.real.Bytes() != 0 || w.real.Room() {
		w.t.Fatalf("Drain: %+v", w.real)
	}
	w.begin()
}

// restart has the broker start again.
func (w *outboundWalk) restart() {
	if !w.durable {
		w.begin()
		return
	}
	slices.SortFunc(w.store, func(a, b storedMessage) int { return cmp.Compare(a.number, b.number) })
	w.untold = nil
	first := w.nextSeq
	if len(w.store) > 0 {
		first = w.store[0].number
	}
	w.load(first)
}

func (w *outboundWalk) check() {
	w.t.Helper()
	r, m := w.real, w.model
	if r.Len() != len(m.entries) || r.Bytes() != m.bytes() || r.Inflight() != m.inflight() {
		w.t.Fatalf("Len %d, Bytes %d, Inflight %d; want %d, %d, %d",
			r.Len(), r.Bytes(), r.Inflight(), len(m.entries), m.bytes(), m.inflight())
	}
	if m.room() && !r.Room() { // it may not know of the end before it was asked for a step
		if step, ok := r.Next(w.now); ok {
			w.t.Fatalf("Next: %+v, want nothing", step)
		}
	}
	if r.Room() != m.room() || r.Tail() != max(m.tail, 1) {
		w.t.Fatalf("Room %v, Tail %d; want %v, %d", r.Room(), r.Tail(), m.room(), m.tail)
	}
	var numbers []uint64
	r.Sent(func(n uint64) { numbers = append(numbers, n) })
	if !slices.Equal(numbers, m.sent()) {
		w.t.Fatalf("Sent: %d, want %d", numbers, m.sent())
	}
	for n := max(m.tail, 8) - 7; n < m.tail+2; n++ {
		if r.Has(n) != m.has(n) || r.Awaits(n) != m.awaits(n) {
			w.t.Fatalf("%d: Has %v, Awaits %v; want %v, %v", n, r.Has(n), r.Awaits(n), m.has(n), m.awaits(n))
		}
	}
}
