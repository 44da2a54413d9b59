package spread

import (
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// handedOut is what the Spread hands out now, by number.
func handedOut(s *Spread, now int64) (numbers []uint64) {
	for d := s.Next(now); d != nil; d = s.Next(now) {
		numbers = append(numbers, d.Number)
	}
	return numbers
}

// member is one that is online.
func member(s *Spread, window int) *Member {
	m := s.Join("c", "f")
	m.QoS = 1
	s.Online(m, window)
	return m
}

// What failed before a restart, and is younger than what was in flight then, does not overtake that.
func TestAFailureOfBeforeDoesNotOvertake(t *testing.T) {
	const due = 10
	s := New(Rules{AckTimeout: 100, MemberMax: 3}, hooks.Extent{Head: 1, Next: 4, Len: 3}, map[uint64]Attempt{3: {Deliveries: 1, Failures: 1, Due: due}})
	member(s, 3)
	f, wanted := s.Want()
	if !wanted {
		t.Fatal("nothing is read")
	}
	var page []hooks.Queued
	for number := f.From; number < 4; number++ {
		page = append(page, hooks.Queued{Number: number, Message: new(packet.Message)})
	}
	s.Read(f, page, due-1)
	s.Tick(due)
	if got := handedOut(s, due); len(got) != 3 || got[0] != 1 || got[1] != 2 || got[2] != 3 {
		t.Errorf("handed out %d, want 1, 2, 3", got)
	}
}

// What comes back makes room at once, if the channel drops its oldest and has more than it may.
func TestWhatComesBackMakesRoom(t *testing.T) {
	rules := Rules{AckTimeout: 100, MemberMax: 3, MessagesMax: 3, DropOldest: true}
	for name, comeBack := range map[string]func(s *Spread, m *Member, d []*Delivery){
		"its member goes": func(s *Spread, m *Member, _ []*Delivery) { s.Offline(m, 1) },
		"it is refused": func(s *Spread, _ *Member, d []*Delivery) {
			refuseAll(s, d, Answer{Acked: true, Code: packet.QuotaExceeded})
		},
		"it was not taken": func(s *Spread, _ *Member, d []*Delivery) { refuseAll(s, d, Answer{}) },
	} {
		s := New(rules, hooks.Extent{Head: 1, Next: 1}, nil)
		m := member(s, 3)
		var given []*Delivery
		for number := uint64(1); number <= 3; number++ {
			s.Admit(0)
			s.Queued(number, new(packet.Message), 0)
			given = append(given, s.Next(0))
		}
		fewer := rules
		fewer.MessagesMax = 1
		s.Change(fewer, 0)
		if depth, _ := s.Depth(); depth != 3 {
			t.Fatalf("%s: %d messages while they are in flight", name, depth)
		}
		comeBack(s, m, given)
		if depth, _ := s.Depth(); depth != 1 {
			t.Errorf("%s: %d messages, want 1", name, depth)
		}
	}
}

func refuseAll(s *Spread, given []*Delivery, a Answer) {
	for _, d := range given {
		s.Answered(d, a, 1)
	}
}
