package badger

import (
	"fmt"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// live makes messages for session a, whose client is online.
func live(count int) (batch []storage.Enqueue) {
	for i := range count {
		batch = append(batch, storage.Enqueue{
			Message: &packet.Message{Topic: "t", Payload: fmt.Append(nil, i)}, To: []storage.Entry{{Session: "a", QoS: 1, Live: true}},
		})
	}
	return batch
}

func enqueueLive(t *testing.T, s *Store, batch []storage.Enqueue) answer {
	t.Helper()
	w := make(answer, 1)
	if _, err := s.EnqueueAll(batch, w); err != nil {
		t.Fatal(err)
	}
	return w
}

// What is acknowledged at once is never written, whoever waits is told all the same, and after a crash no number is missing.
func TestDoneIsNotWritten(t *testing.T) {
	path := t.TempDir()
	s := openForTest(t, Options{Path: path})
	mustUpdate(t, s, storage.PutSession{Session: storage.Session{ID: "a"}})
	before := s.Stats()
	const rounds, each = 20, 50
	for range rounds {
		s.mu.Lock() // the committer takes its time
		s.company.luck = 0
		s.mu.Unlock()
		batch := live(each)
		w := enqueueLive(t, s, batch)
		var acks []storage.Ack
		for _, e := range batch {
			acks = append(acks, storage.Ack{Session: "a", Seq: e.To[0].Seq, Progress: storage.Done})
		}
		if err := s.AckAll(acks, telling{}); err != nil {
			t.Fatal(err)
		}
		if err := <-w; err != nil {
			t.Fatal(err)
		}
	}
	after := s.Stats()
	if written := after.Messages - before.Messages; written > rounds*each/2 {
		t.Errorf("%d of %d messages were written", written, rounds*each)
	}
	mustSend(t, s, "", "a")
	die(s)
	s = openForTest(t, Options{Path: path})
	defer s.Close()
	if lost := s.Report().Losses; len(lost) > 0 {
		t.Errorf("lost: %v", lost)
	}
	if q := s.sessions["a"]; q.next != rounds*each+2 || q.live != 1 {
		t.Errorf("next number %d, %d waiting", q.next, q.live)
	}
}

// A teller notes whom it told.
type teller struct{ told []storage.Waiter }

func (t *teller) Tell(w storage.Waiter) { t.told = append(t.told, w) }

// telling tells Waiters as the store itself would.
type telling struct{}

func (telling) Tell(w storage.Waiter) { w.Stored(nil) }

// Who waits for receivers alone is told in the call that has the last acknowledgement, in order, and not once more.
func TestDoneIsToldAtOnce(t *testing.T) {
	s := openForTest(t, Options{Path: t.TempDir()})
	defer s.Close()
	mustUpdate(t, s, storage.PutSession{Session: storage.Session{ID: "a"}})
	var by teller
	for round := 0; len(by.told) == 0; round++ { // the committer may be quicker on a busy machine
		if round == 100 {
			t.Fatal("nobody was told")
		}
		batches := [][]storage.Enqueue{live(3), live(3)}
		var waiters []answer
		var acks []storage.Ack
		for _, batch := range batches {
			waiters = append(waiters, enqueueLive(t, s, batch))
			for _, e := range batch {
				acks = append(acks, storage.Ack{Session: "a", Seq: e.To[0].Seq, Progress: storage.Done})
			}
		}
		if err := s.AckAll(acks, &by); err != nil {
			t.Fatal(err)
		}
		left := by.told
		for _, w := range waiters {
			if len(left) > 0 && left[0] == storage.Waiter(w) {
				left = left[1:]
				continue
			}
			<-w
		}
		if len(left) > 0 {
			t.Errorf("told out of order: %v of %v", by.told, waiters)
		}
	}
	s.Close() // which tells who is left
	for _, w := range by.told {
		if len(w.(answer)) > 0 {
			t.Error("told twice")
		}
	}
	if left := s.Stats().Writes; left != 0 {
		t.Errorf("%d writes wait", left)
	}
}

// Whoever waits for something else than receivers is told by the store, after those before.
func TestNobodyElseIsToldAtOnce(t *testing.T) {
	s := openForTest(t, Options{Path: t.TempDir()})
	defer s.Close()
	mustUpdate(t, s, storage.PutSession{Session: storage.Session{ID: "a"}})
	for round := range 20 {
		batch := live(1)
		first, second := enqueueLive(t, s, batch), make(answer, 1)
		change := storage.PutCounters{Values: map[string]uint64{"n": uint64(round)}}
		if _, err := s.Update([]storage.Change{change}, second); err != nil {
			t.Fatal(err)
		}
		var by teller
		if err := s.AckAll([]storage.Ack{{Session: "a", Seq: batch[0].To[0].Seq, Progress: storage.Done}}, &by); err != nil {
			t.Fatal(err)
		}
		if err := <-second; err != nil {
			t.Fatal(err)
		}
		if len(by.told) > 0 || len(first) != 1 {
			t.Fatalf("round %d: %d told at once, %d before the second", round, len(by.told), len(first))
		}
		<-first
	}
}

// die leaves the store as a crash does.
func die(s *Store) {
	s.writing.Lock()
	s.mu.Lock()
	s.failed = fmt.Errorf("died")
	s.mu.Unlock()
	s.writing.Unlock()
	s.Close()
}

// An acknowledgement that is one step with something else must not take effect before that: what it is for is written although
// it is done by then.
func TestAckInAStepIsNotEarly(t *testing.T) {
	s := openForTest(t, Options{Path: t.TempDir()})
	defer s.Close()
	mustUpdate(t, s, storage.PutSession{Session: storage.Session{ID: "a"}})
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, take := range map[string]func(g *group, number uint64) bool{
		"an acknowledgement alone": func(_ *group, number uint64) bool {
			s.noteLocked(s.sessions["a"], storage.Ack{Session: "a", Seq: number, Progress: storage.Done})
			return false
		},
		"an acknowledgement with a record": func(g *group, number uint64) bool {
			s.applyLocked(g, storage.Ack{Session: "a", Seq: number, Progress: storage.Done})
			return true
		},
		"the end of the session": func(g *group, _ uint64) bool {
			s.applyLocked(g, storage.DeleteSession{ID: "a"})
			s.applyLocked(g, storage.PutSession{Session: storage.Session{ID: "a"}})
			return true
		},
	} {
		first, second := &group{id: s.takeIDLocked(), awaited: true}, &group{id: s.takeIDLocked()}
		e := &live(1)[0]
		s.enqueueLocked(first, e)
		want := take(second, e.To[0].Seq)
		if got := s.prepareLocked(first, time.Now()); got != want {
			t.Errorf("%s: written %v, want %v", name, got, want)
		}
	}
}

// Receivers that did not answer in time are not waited for, until they answer in time again.
func TestBrisk(t *testing.T) {
	s := openForTest(t, Options{Path: t.TempDir()})
	defer s.Close()
	mustUpdate(t, s, storage.PutSession{Session: storage.Session{ID: "a"}})
	first := live(1)
	if err := <-enqueueLive(t, s, first); err != nil { // nobody answers: it is written
		t.Fatal(err)
	}
	s.mu.Lock()
	q := s.sessions["a"]
	if q.brisk {
		t.Error("a receiver that did not answer is waited for")
	}
	second := &live(1)[0]
	g := &group{id: s.takeIDLocked(), awaited: true}
	if !s.enqueueLocked(g, second) {
		t.Error("its next message does not need the disk")
	}
	s.noteLocked(q, storage.Ack{Session: "a", Seq: second.To[0].Seq, Progress: storage.Done})
	if !q.brisk {
		t.Error("a receiver that answered at once is not waited for")
	}
	s.mu.Unlock()
}

// A commit waits for those who were told of the last one, as long as that helps.
func TestCompany(t *testing.T) {
	now := time.Now()
	c := company{luck: 1}
	c.ends(8 * time.Millisecond)
	c.goes(10)
	if left := c.left(1, now); left <= 0 || left > companyMost {
		t.Fatalf("with 1 of 10 back it waits %v", left)
	}
	if left := c.left(9, now); left != 0 {
		t.Fatalf("with 9 of 10 back it waits %v", left)
	}
	c.goes(9)
	if c.luck != 2 {
		t.Errorf("luck %d", c.luck)
	}
	for range 3 { // nobody comes back
		c.left(1, now)
		c.left(1, now.Add(companyMost))
		c.goes(1)
		c.last = 10
	}
	if left := c.left(1, now); left != 0 {
		t.Errorf("without luck it waits %v", left)
	}
	lone := company{luck: luckMost, last: 1, took: time.Millisecond}
	if left := lone.left(1, now); left != 0 {
		t.Errorf("a lone publisher waits %v", left)
	}
}
