package bench

import (
	"testing"
	"time"
)

// A silence is the time between two arrivals while something is on its way and the generator looks.
func TestSilence(t *testing.T) {
	const us = int64(time.Microsecond)
	type look struct {
		at        int64 // µs
		delivered uint64
		waiting   bool
	}
	for _, test := range []struct {
		name    string
		looks   []look
		longest int64 // µs
		away    int64
	}{
		{"nothing is on its way", []look{{0, 0, false}, {100, 0, false}, {200, 0, false}}, 0, 0},
		{"between arrivals", []look{{0, 0, true}, {100, 1, true}, {200, 1, true}, {400, 1, true}, {500, 2, false}}, 400, 0},
		{"from when something was on its way", []look{{0, 1, false}, {200, 1, false}, {400, 1, true}, {600, 2, false}}, 400, 0},
		{"not while the generator is away", []look{{0, 1, true}, {900, 1, true}, {1000, 2, true}}, 100, 900},
		{"nor what arrived meanwhile", []look{{0, 1, true}, {900, 2, true}, {1000, 2, true}, {1100, 3, true}}, 200, 900},
	} {
		s := newSilence(50 * us)
		for _, l := range test.looks {
			s.look(l.at*us, l.delivered, l.waiting)
		}
		got := s.result()
		if got.Longest != time.Duration(test.longest*us) || got.Away != time.Duration(test.away*us) {
			t.Errorf("%s: %v, away %v", test.name, got.Longest, got.Away)
		}
	}
}

// Silences are long from a millisecond on, as far as the histogram's buckets tell.
func TestLongSilences(t *testing.T) {
	s := newSilence(int64(time.Second))
	at := int64(0)
	s.look(0, 0, true)
	for i, gap := range []time.Duration{time.Millisecond / 2, 2 * time.Millisecond, time.Millisecond / 4, 5 * time.Millisecond} {
		at += int64(gap)
		s.look(at, uint64(i+1), true)
	}
	if got := s.result(); got.Long != 2 || got.Longest != 5*time.Millisecond {
		t.Errorf("%+v", got)
	}
	if (*silence)(nil).result() != nil {
		t.Error("a closed loop has a silence")
	}
}
