package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// quick are two cases that take no time, of two rounds each.
func quick() []Case {
	o := small(Default(Pairs), "")
	o.Warmup, o.Duration = 0, 50*time.Millisecond
	return []Case{
		{Name: "a", Group: Live, Options: o, Figures: throughput(0, ""), Rounds: 2},
		{Name: "b", Group: Live, Options: withWindow(o, 5), Figures: throughput(0, ""), Rounds: 2},
	}
}

func withWindow(o Options, window int) Options {
	o.Window = window
	return o
}

// A comparison that is interrupted goes on where it stood, and when all is measured nothing is kept of it.
func TestCompareGoesOn(t *testing.T) {
	b := actorBroker(t, "flashmq")
	path := filepath.Join(t.TempDir(), "state")
	var order []string
	o := CompareOptions{Brokers: []Broker{b}, Cases: quick(), State: path}
	ctx, interrupt := context.WithCancel(t.Context())
	o.Report = func(k Case, round int, _ string, _ Result) {
		if order = append(order, fmt.Sprint(k.Name, round)); len(order) == 3 {
			interrupt()
		}
	}
	if _, err := Compare(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Count(string(text), "\n") != 3 {
		t.Fatalf("state %s, error %v", text, err)
	}
	order = nil
	began := time.Now()
	o.Report = func(k Case, round int, _ string, r Result) {
		order = append(order, fmt.Sprint(k.Name, round))
	}
	c, err := Compare(t.Context(), o)
	if err != nil || !slices.Equal(order, []string{"a1", "b1", "a2", "b2"}) || c.Fewest != 2 || len(c.Troubles) > 0 {
		t.Errorf("%v: %+v, error %v", order, c, err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("%v after %v: %v", path, time.Since(began), err)
	}
}

// When its time is over a comparison begins nothing, says what it did not measure, and keeps what it did.
func TestCompareKeepsItsTime(t *testing.T) {
	b := actorBroker(t, "flashmq")
	path := filepath.Join(t.TempDir(), "state")
	o := CompareOptions{Brokers: []Broker{b}, Cases: quick(), State: path, Limit: time.Nanosecond}
	c, err := Compare(t.Context(), o)
	if err != nil || len(c.Rows) != 0 || !slices.Equal(c.Unmeasured, []string{"a", "b"}) {
		t.Errorf("%+v, error %v", c, err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	o.Limit, o.Rounds = time.Hour, 1
	if c, err = Compare(t.Context(), o); err != nil || c.Most != 1 || len(c.Unmeasured) > 0 {
		t.Errorf("%+v, error %v", c, err)
	}
}

// A broker that fails keeps nobody from being measured; it is tried once, and what it said is told.
func TestCompareGoesOnWithoutABroker(t *testing.T) {
	broken := Broker{
		Name: "broken", Path: "/bin/sh", config: func(settings) string { return "" },
		args: func(string) []string { return []string{"-c", "echo cannot >&2; exit 1"} },
	}
	c, err := Compare(t.Context(), CompareOptions{Brokers: []Broker{broken, actorBroker(t, "flashmq")}, Cases: quick()[:1]})
	if err == nil || !strings.Contains(err.Error(), "a, broken, round 1") || strings.Contains(err.Error(), "round 2") {
		t.Errorf("error %v", err)
	}
	if c == nil || c.Rows[0].Medians[0] != 0 || c.Rows[0].Medians[1] <= 0 || len(c.Troubles) != 1 || !strings.Contains(c.Troubles[0].Text, "cannot") {
		t.Errorf("%+v", c)
	}
}

func actorBroker(t *testing.T, name string) Broker {
	t.Helper()
	b, err := NewBroker(name, actor(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
