package bench

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A measurement is found again by what it is of, as long as it is of today; a line that was cut is none.
func TestState(t *testing.T) {
	path, now := filepath.Join(t.TempDir(), "state"), time.Now()
	k, b := Case{Name: "k", Options: Default(Pairs)}, Broker{Name: "b", Path: "/bin/sh"}
	s, err := openState(path, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.keep(&k, &b, 0, &Result{Delivered: 7, Latency: Quantiles{P99: 3}, Lone: &LoneResult{Ratio: 2}}); err != nil {
		t.Fatal(err)
	}
	if err := s.close(false); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"at":"2026`)
	f.Close()
	other, environment, program := k, k, b
	other.Options.QoS, environment.Environment, program.Path = 1, []string{"GOGC=off"}, "/bin/ls"
	for _, test := range []struct {
		what  string
		k     Case
		b     Broker
		round int
		at    time.Time
		known bool
	}{
		{"the same", k, b, 0, now, true},
		{"another round", k, b, 1, now, false},
		{"other options", other, b, 0, now, false},
		{"another environment", environment, b, 0, now, false},
		{"another program", k, program, 0, now, false},
		{"another day", k, b, 0, now.Add(stateAge), false},
	} {
		s, err := openState(path, test.at.Add(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		r, known := s.find(&test.k, &test.b, test.round)
		if known != test.known || known && (r.Delivered != 7 || r.Latency.P99 != 3 || r.Lone.Ratio != 2) {
			t.Errorf("%s: known %v, %+v", test.what, known, r)
		}
		if err := s.close(false); err != nil {
			t.Error(err)
		}
	}
	if s, err = openState(path, now); err == nil {
		err = s.close(true)
	}
	if _, statErr := os.Stat(path); err != nil || !os.IsNotExist(statErr) {
		t.Errorf("error %v; the file that nobody needs: %v", err, statErr)
	}
}
