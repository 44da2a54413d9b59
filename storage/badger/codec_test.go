package badger

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/test/setting"
)

// A chunk's head says of its messages and entries what was put in, also when numbers have gaps and go back.
func TestHead(t *testing.T) {
	b := &builder{chunk: &chunk{}}
	b.addMessage(&packet.Message{Topic: "t", Payload: []byte("one"), Expires: 5}, 2)
	x, y := b.addQueue(7, 10), b.addQueue(9, 1)
	entries := []storage.Entry{
		{Seq: 10, QoS: 1}, {Seq: 1, QoS: 2, Retain: true, SubscriptionIDs: []uint32{1, 268435455}, Group: "g/f"}, {Seq: 15, QoS: 1}, {Seq: 3, QoS: 2},
	}
	b.addEntry(x, 10, &entries[0])
	b.addEntry(y, 1, &entries[1])
	b.addMessage(&packet.Message{Topic: "t", Payload: []byte("two")}, 2)
	b.addEntry(x, 15, &entries[2])
	b.addEntry(x, 3, &entries[3])
	var h head
	if err := h.decode(b.head()); err != nil {
		t.Fatal(err)
	}
	if got := listEntries(&h); !reflect.DeepEqual(got, entries) || !reflect.DeepEqual(h.queues, []uint64{7, 9}) {
		t.Errorf("got %+v of %v", got, h.queues)
	}
	if b.chunk.expires != 5 || h.messages[0].expires != 5 || h.messages[1].size != 4 {
		t.Errorf("messages %+v, chunk expires %d", h.messages, b.chunk.expires)
	}
}

// listEntries lists the entries of a head in the order of its messages.
func listEntries(h *head) (list []storage.Entry) {
	for i := range h.messages {
		m := &h.messages[i]
		for _, e := range h.entriesOf(m) {
			list = append(list, h.entry(&e, e.seq+uint64(m.use), ""))
		}
	}
	return list
}

// Whatever messages a chunk has, for whichever queues, its head says of each what was put in, and a reader finds each; rows that come
// again take next to nothing.
func TestRows(t *testing.T) {
	seed := setting.Seed(t)
	random := rand.New(rand.NewPCG(seed, 2))
	for range 300 {
		b := &builder{chunk: &chunk{}}
		next := make([]uint64, 6)
		for i := range next {
			next[i] = 1 + random.Uint64N(1000)
			b.addQueue(uint64(i), next[i])
		}
		var want []storage.Entry
		var of []int // message of each
		for i := range random.IntN(60) {
			row := randomRow(random, len(next))
			b.addMessage(&packet.Message{Topic: "t", Payload: fmt.Append(nil, i)}, len(row))
			for _, queue := range row {
				e := storage.Entry{Seq: next[queue], QoS: byte(1 + random.IntN(8)/7)}
				if random.IntN(20) == 0 {
					e.SubscriptionIDs = []uint32{random.Uint32()}
				}
				next[queue] += 1 + random.Uint64N(16)/15
				b.addEntry(queue, e.Seq, &e)
				want, of = append(want, e), append(of, i)
			}
		}
		var h head
		if err := h.decode(b.head()); err != nil {
			t.Fatal(err)
		}
		if got := listEntries(&h); !reflect.DeepEqual(got, want) || h.total != len(want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		findAll(t, b, &h, of)
	}
}

// Messages that go to the same thousand queues as one before, others between them, take a byte for that.
func TestRowsTakeLittle(t *testing.T) {
	const queues, messages = 1000, 200
	b := &builder{chunk: &chunk{}}
	for i := range queues + 1 {
		b.addQueue(uint64(i), 1)
	}
	for i := range messages {
		seq := uint64(i + 1)
		b.addMessage(&packet.Message{Topic: "t"}, queues)
		for queue := range queues {
			b.addEntry(queue, seq, &storage.Entry{QoS: 1})
		}
		b.addMessage(&packet.Message{Topic: "t"}, 1)
		b.addEntry(queues, seq, &storage.Entry{QoS: 1})
	}
	if most := 4*queues + 2*messages*5; len(b.index) > most {
		t.Errorf("%d bytes, at most %d", len(b.index), most)
	}
}

// randomRow lists the queues that a message is for: often the same, sometimes one twice.
func randomRow(random *rand.Rand, queues int) []int {
	switch random.IntN(4) {
	case 0:
		return []int{0, 1, 2, 3}
	case 1:
		return []int{4, 5}
	}
	row := make([]int, 1+random.IntN(4))
	for i := range row {
		row[i] = random.IntN(queues)
	}
	return row
}

// findAll looks for every entry as Read does; of says which message each is of.
func findAll(t *testing.T, b *builder, h *head, of []int) {
	t.Helper()
	var places []headEntry
	for i := range h.messages {
		m := &h.messages[i]
		for _, e := range h.entriesOf(m) {
			e.seq += uint64(m.use)
			places = append(places, e)
		}
	}
	l := newLoaded(h, b.body)
	for i, e := range places {
		found, at := l.find(h.queues[e.queue], e.seq)
		if found == nil || int(at) != of[i] {
			t.Fatalf("number %d of queue %d is message %d, found %v at %d", e.seq, e.queue, of[i], found, at)
		}
		if m, err := l.message(at); err != nil || string(m.Payload) != fmt.Sprint(of[i]) {
			t.Fatalf("message %d: %v, %v", of[i], m, err)
		}
		if _, beyond := l.find(h.queues[e.queue], e.seq+1<<40); beyond != 0 {
			t.Fatal("found what is not there")
		}
	}
}

// A queue's state survives its record, with any marks.
func TestQueueState(t *testing.T) {
	seed := setting.Seed(t)
	random := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		q := newQueue("a", 1)
		want := make(map[uint64]storage.Progress)
		for range random.IntN(300) {
			seq, p := 1+random.Uint64N(400), storage.Progress(random.IntN(4))
			q.marks.set(seq, p)
			want[seq] = max(want[seq], p)
			if random.IntN(4) == 0 {
				q.receive(uint16(random.IntN(50)), random.IntN(2) == 0)
			}
		}
		q.next = 401
		q.marks.trim(q.next)
		got := newQueue("a", 1)
		as, err := got.decodeState(q.encodeState(77))
		if err != nil || as != 77 || got.next != 401 {
			t.Fatalf("as %d, next %d, %v", as, got.next, err)
		}
		for seq := uint64(1); seq < 500; seq++ {
			if got.marks.get(seq) != want[seq] {
				t.Fatalf("number %d: %d, want %d", seq, got.marks.get(seq), want[seq])
			}
		}
		if len(got.received) != len(q.received) {
			t.Fatalf("received %v, want %v", got.received, q.received)
		}
	}
}

// A record of a queue may mark as many numbers as the queue has had, however many that are, and no more.
func TestMarksBound(t *testing.T) {
	q := newQueue("a", 1)
	const many = 20_000_000 // done behind one that is not
	q.marks.floor, q.next = 5, 6+many
	q.marks.fill(6, 6+many, storage.Done)
	record := q.encodeState(1)
	if len(record) > 100 {
		t.Errorf("the record has %d bytes", len(record))
	}
	got := newQueue("a", 1)
	if _, err := got.decodeState(record); err != nil || got.marks.get(5) != storage.Queued || got.marks.get(5+many) != storage.Done {
		t.Errorf("%v; the first is %d, the last %d", err, got.marks.get(5), got.marks.get(5+many))
	}
	q.next = many / 2
	if _, err := newQueue("a", 1).decodeState(q.encodeState(1)); err == nil {
		t.Error("a record marks numbers that none had")
	}
}

// No bytes make a decoder panic or take more than their share, and a head that decodes stays within its body.
func FuzzRecords(f *testing.F) {
	b := &builder{chunk: &chunk{}}
	b.addMessage(&packet.Message{Topic: "t", Payload: []byte("one"), Properties: []byte{1, 0}}, 1)
	b.addEntry(b.addQueue(7, 10), 10, &storage.Entry{QoS: 1, SubscriptionIDs: []uint32{1}, Group: "g"})
	q := newQueue("a", 1)
	q.next = 90
	q.receive(5, true)
	q.marks.set(70, storage.Sent)
	g := &group{acks: []ackItem{{1, 2, 3, storage.Done}}, received: []receivedItem{{1, 2, true}}}
	m := &packet.Message{Topic: "t", Payload: []byte("x")}
	for _, seed := range [][]byte{
		b.head(), q.encodeState(3), g.encodeAcks(), encodeRetained(m), encodePlace(place{1, 2, 3}), encodeCounter("n", 1),
		encodeSession(&storage.Session{ID: "a", Groups: []string{"g"}, Will: &storage.Will{Message: m}}), encodeWatermark(9),
		encodeHookRecord(&storage.PutHookRecord{Hook: "h", Key: "k", Value: []byte("v")}),
		encodeSubscription(&storage.Subscription{Filter: "f", ID: 3}), encodeJournal([]record{{[]byte("k"), []byte("v")}, {key: []byte("d")}}),
	} {
		f.Add(seed[sealedBytes:])
	}
	f.Add(buildTable(1, nil))
	f.Add((&manifest{levels: map[uint64]uint64{1: 0, 2: 6}}).encode())
	f.Fuzz(func(t *testing.T, contents []byte) {
		record := seal(append(make([]byte, sealedBytes), contents...))
		decodeSession(record)
		decodeSubscription(record)
		new(names).decodeRetainedRecord(record)
		decodeCounter(record)
		decodeWatermark(record)
		decodeHookRecord(record)
		decodeAcks(record)
		decodeJournal(record)
		c := &cursor{rest: contents}
		if c.uvarint(); c.uvarint() < 1<<20 { // as many numbers may be marked, which takes long if they are many
			newQueue("a", 1).decodeState(record)
		}
		parseManifest(contents)
		if blocks, _ := tableBlocks(contents); len(blocks) > 0 {
			buildTable(1, blocks)
		}
		entrySize(contents)
		var h head
		if h.decode(record) != nil || h.length > len(contents) {
			return
		}
		l := newLoaded(&h, make([]byte, h.length))
		for i := range h.messages {
			l.message(int32(i))
		}
	})
}

// A message for very many sessions, more than a head can list, is stored for each of them, all or none.
func TestManyReceivers(t *testing.T) {
	path := t.TempDir()
	s := openForTest(t, Options{Path: path, Sync: SyncNever})
	const count = 50_000
	group := strings.Repeat("long/", 100)
	e := &storage.Enqueue{Message: &packet.Message{Topic: "t", Payload: []byte("x")}}
	var changes []storage.Change
	for i := range count {
		id := fmt.Sprint("session ", i)
		changes = append(changes, storage.PutSession{Session: storage.Session{ID: id}})
		e.To = append(e.To, storage.Entry{Session: id, QoS: 1, Group: group})
	}
	if _, err := s.Update(changes, nil); err != nil {
		t.Fatal(err)
	}
	mustEnqueue(t, s, e)
	s.Close()
	s = openForTest(t, Options{Path: path, Sync: SyncNever})
	for i := 0; i < count; i += 997 {
		n := 0
		err := s.Read(fmt.Sprint("session ", i), 1, storage.ReadLimit{Entries: 9, Bytes: 99}, func(e storage.Entry, _ storage.Progress, m *packet.Message) bool {
			n++
			if e.Seq != 1 || e.Group != group || string(m.Payload) != "x" {
				t.Errorf("session %d: %+v, payload %q", i, e, m.Payload)
			}
			return true
		})
		if err != nil || n != 1 {
			t.Fatalf("session %d: %d messages, %v", i, n, err)
		}
	}
	if st := s.Stats(); st.Queued != count || st.Chunks < 2 || st.Lost > 0 {
		t.Errorf("%d queued in %d chunks, %d lost", st.Queued, st.Chunks, st.Lost)
	}
}

// A will that does not fit a record is refused; the store goes on.
func TestLargeWillIsRefused(t *testing.T) {
	s := openForTest(t, Options{Path: t.TempDir()})
	will := &storage.Will{Message: &packet.Message{Topic: "t", Properties: make([]byte, valueLogFileSize)}}
	w := make(answer, 1)
	if _, err := s.Update([]storage.Change{storage.PutSession{Session: storage.Session{ID: "a", Will: will}}}, w); !errors.Is(err, storage.ErrFull) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Update([]storage.Change{storage.PutSession{Session: storage.Session{ID: "a"}}}, w); err != nil {
		t.Fatal(err)
	}
	if err := <-w; err != nil {
		t.Error(err)
	}
}

// An fsync error that Badger only logs fails the write.
func TestSwallowedError(t *testing.T) {
	s := openForTest(t, Options{Path: t.TempDir()})
	s.swallowed.Errorf("Error while curlf sync: %v\n", os.ErrInvalid)
	w := make(answer, 1)
	if _, err := s.Update([]storage.Change{storage.PutSession{Session: storage.Session{ID: "a"}}}, w); err != nil {
		t.Fatal(err)
	}
	if err := <-w; err == nil {
		t.Error("the write succeeded")
	}
}

// A damaged head costs its messages: the numbers that are nowhere say whose and how many.
func TestDamagedHead(t *testing.T) {
	path := t.TempDir()
	s := openForTest(t, Options{Path: path})
	if _, err := s.Update([]storage.Change{storage.PutSession{Session: storage.Session{ID: "a", Hook: "channel", ClientID: "orders"}}}, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		mustSend(t, s, fmt.Sprint(i), "a")
	}
	bad := s.sessions["a"].runs[1].chunk.id
	if err := s.commitOnce([]record{{idKey(keyHead, bad), bytes.Repeat([]byte{recordVersion}, 50)}}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openForTest(t, Options{Path: path})
	losses := s.Report().Losses
	if len(losses) != 2 || losses[1].Session != "a" || losses[1].Count != 1 || losses[1].First != 2 {
		t.Errorf("losses: %v", losses)
	}
	if text := fmt.Sprint(losses); !strings.Contains(text, `queue "orders" of hook "channel": 1 messages lost, numbers 2 to 2`) {
		t.Errorf("said as %s", text)
	}
	s.Close()
	if again := openForTest(t, Options{Path: path}).Report().Losses; len(again) > 0 {
		t.Errorf("reported again: %v", again)
	}
}

// A damaged checkpoint of a queue costs nothing that is still there, and what was acknowledged long ago is not taken for lost.
func TestDamagedCheckpoint(t *testing.T) {
	path := t.TempDir()
	s := openForTest(t, Options{Path: path, Sync: SyncNever, tuning: restless})
	mustUpdate(t, s, storage.PutSession{Session: storage.Session{ID: "a"}})
	const count, done = 50, 30
	for i := range count {
		mustSend(t, s, fmt.Sprint(i), "a")
	}
	for seq := uint64(1); seq <= done; seq++ {
		mustWrite(t, func(w storage.Waiter) (bool, error) {
			return s.Ack(storage.Ack{Session: "a", Seq: seq, Progress: storage.Done}, w)
		})
	}
	for s.Stats().Chunks > count-done { // until what is done is gone
		mustUpdate(t, s, storage.PutCounters{Values: map[string]uint64{"n": 1}})
	}
	handle := s.sessions["a"].handle
	s.Close()
	s = openForTest(t, Options{Path: path, Sync: SyncNever})
	if err := s.commitOnce([]record{{idKey(keyQueue, handle), bytes.Repeat([]byte{recordVersion}, 50)}}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openForTest(t, Options{Path: path})
	for _, l := range s.Report().Losses {
		if l.Count > 0 {
			t.Errorf("lost: %v", l)
		}
	}
	if st := s.Stats(); len(s.Report().Losses) == 0 || st.Queued < count-done {
		t.Errorf("%d are queued, lost: %v", st.Queued, s.Report().Losses)
	}
}

// Small chunks are copied together and sparse ones thinned out; nothing is lost by that, and room comes back.
func TestMove(t *testing.T) {
	path := t.TempDir()
	s := openForTest(t, Options{Path: path, Sync: SyncNever, tuning: restless})
	for _, id := range []string{"a", "b"} {
		s.Update([]storage.Change{storage.PutSession{Session: storage.Session{ID: id}}}, nil)
	}
	const count = 2000
	for i := range count {
		mustSend(t, s, fmt.Sprint(i), "a", "b")
		s.Ack(storage.Ack{Session: "b", Seq: uint64(i + 1), Progress: storage.Done}, nil)
		if i%50 != 0 {
			s.Ack(storage.Ack{Session: "a", Seq: uint64(i + 1), Progress: storage.Done}, nil)
		}
	}
	check := func(s *Store) {
		t.Helper()
		want := 0
		err := s.Read("a", 1, storage.ReadLimit{Entries: count, Bytes: count * 10}, func(e storage.Entry, _ storage.Progress, m *packet.Message) bool {
			if e.Seq != uint64(want+1) || string(m.Payload) != fmt.Sprint(want) {
				t.Fatalf("number %d is %q, want %d", e.Seq, m.Payload, want)
			}
			want += 50
			return true
		})
		if err != nil || want != count {
			t.Errorf("read up to %d, %v", want, err)
		}
	}
	check(s)
	if st := s.Stats(); st.Moved < 20 || st.Chunks > 100 {
		t.Errorf("%d chunks moved, %d left", st.Moved, st.Chunks)
	}
	s.Close()
	check(openForTest(t, Options{Path: path}))
}
