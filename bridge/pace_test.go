package bridge

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/penstockmq/penstock/test/setting"
)

func nopReplacer() *strings.Replacer { return strings.NewReplacer() }

// Waiting grows to its bound, between half and all of it, and begins anew after a success.
func TestBackoff(t *testing.T) {
	for _, random := range []float64{0, 0.5, 1} {
		b := backoff{min: time.Second, max: 10 * time.Second, random: func() float64 { return random }}
		for range 2 {
			for _, full := range []time.Duration{1, 2, 4, 8, 10, 10} {
				full *= time.Second
				if got, want := b.wait(), full/2+time.Duration(float64(full/2)*random); got != want {
					t.Errorf("waits %s, want %s", got, want)
				}
			}
			b.reset()
		}
	}
}

// A throttle lets through what it should over time, whatever the rhythm of the questions.
func TestThrottle(t *testing.T) {
	random := setting.Random(t)
	th := newThrottle(100)
	now, passed := time.Unix(0, 0), 0
	for now.Before(time.Unix(10, 0)) {
		if wait := th.take(now); wait > 0 {
			now = now.Add(wait)
			continue
		}
		passed++
		now = now.Add(time.Duration(random.IntN(5)) * time.Millisecond)
	}
	if passed < 990 || passed > 1020 {
		t.Errorf("%d passed in 10 s at 100 a second", passed)
	}
	if newThrottle(0).take(now) != 0 {
		t.Error("no limit made somebody wait")
	}
}

// A meter comes to the rate of what it sees, and fades.
func TestMeter(t *testing.T) {
	m, now := meter{}, time.Unix(0, 0)
	for range 10_000 {
		now = now.Add(10 * time.Millisecond)
		m.add(1, now)
	}
	if rate := m.read(now); math.Abs(rate-100) > 1 {
		t.Errorf("100 a second are measured as %f", rate)
	}
	if rate := m.read(now.Add(10 * meterSpan)); rate > 0.1 {
		t.Errorf("long after, %f", rate)
	}
}

// Acknowledgements leave in the order of the messages, whatever the store does first.
func TestDebtsArePaidInOrder(t *testing.T) {
	ds := newDebts(10)
	a, b, c := ds.owe(1, 1), ds.owe(2, 2), ds.owe(3, 1)
	ds.settle(c)
	ds.settle(b)
	if due := ds.due(); len(due) != 0 {
		t.Errorf("%d are due before the first", len(due))
	}
	ds.settle(a)
	due := ds.due()
	if len(due) != 3 || due[0] != a || due[1] != b || due[2] != c {
		t.Errorf("due %v", due)
	}
}
