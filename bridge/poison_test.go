package bridge

import (
	"errors"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
)

// A message is dropped only if connection after connection is closed for it alone, and nothing as large was ever taken.
func TestSuspicion(t *testing.T) {
	large, small := &flight{number: 7, size: 10_000}, &flight{number: 8, size: 10}
	for name, c := range map[string]struct {
		err     error
		moved   bool
		first   *flight
		largest int64
		dropped bool
	}{
		"closed for a large one":       {err: errClosed, first: large, largest: 5000, dropped: true},
		"the other broker says why":    {err: &refusal{code: 0x95}, first: large, largest: 5000, dropped: true},
		"one like it was taken before": {err: errClosed, first: large, largest: 10_000},
		"something was acknowledged":   {err: errClosed, first: large, moved: true},
		"the link is dead":             {err: errors.New("the other side does not answer"), first: large},
		"nothing was on its way":       {err: errClosed},
		"another broker's refusal":     {err: &refusal{code: 0x97}, first: large},
		"a small one":                  {err: errClosed, first: small},
	} {
		s := suspicion{largest: c.largest}
		for k := 1; k < poisonAfter; k++ {
			if s.judge(packet.V311, c.err, c.moved, c.first) {
				t.Errorf("%s: dropped after %d connections", name, k)
			}
		}
		if alone := s.windowMax(100) == 1; alone != (s.closed >= suspicionAfter) {
			t.Errorf("%s: sent alone is %t after %d connections", name, alone, s.closed)
		}
		if got := s.judge(packet.V311, c.err, c.moved, c.first); got != c.dropped {
			t.Errorf("%s: dropped is %t", name, got)
		}
	}
	five := suspicion{}
	for range poisonAfter {
		if five.judge(packet.V5, errClosed, false, large) {
			t.Error("dropped with MQTT 5, without a word")
		}
	}
	s := suspicion{}
	for range poisonAfter - 1 {
		s.judge(packet.V311, errClosed, false, large)
	}
	if s.judge(packet.V311, errClosed, false, small) || s.judge(packet.V311, errClosed, false, large) {
		t.Error("another message first in line does not begin the count anew")
	}
}
