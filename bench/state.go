package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// A state is a file of measurements, a line each, from which a comparison goes on.
type state struct {
	file  *os.File // nil if nothing is kept
	known map[string]Result
}

// A measured is a line of the file: what was measured, how, and what came of it.
type measured struct {
	At     time.Time `json:"at"`
	Of     string    `json:"of"`
	Result Result    `json:"result"`
}

// stateAge is how old a measurement may be: one of another day says little beside one of today.
const stateAge = 12 * time.Hour

// openState opens a file, or makes it. What is old in it is not used.
func openState(path string, now time.Time) (*state, error) {
	s := &state{known: make(map[string]Result)}
	if path == "" {
		return s, nil
	}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("bench: state: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m measured
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			break // the last line, which an interruption cut
		}
		if now.Sub(m.At) < stateAge {
			s.known[m.Of] = m.Result
		}
	}
	if s.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
		return nil, fmt.Errorf("bench: state: %w", err)
	}
	return s, nil
}

// what names a measurement by all that its result depends on: another build of a broker or other options make another one.
func what(k *Case, b *Broker, round int) (string, error) {
	program, err := os.Stat(b.Path)
	if err != nil {
		return "", fmt.Errorf("bench: state: %w", err)
	}
	options, err := json.Marshal(k.Options)
	if err != nil {
		return "", fmt.Errorf("bench: state: %w", err)
	}
	return fmt.Sprintf("%s %s %d %s %d %v %d %s", k.Name, k.Group, k.Ending, b.Path, program.Size(), program.ModTime().UnixNano(), round, options), nil
}

// find returns the result of a measurement that was made.
func (s *state) find(k *Case, b *Broker, round int) (Result, bool) {
	name, err := what(k, b, round)
	if err != nil {
		return Result{}, false
	}
	r, known := s.known[name]
	return r, known
}

// keep writes the result of a measurement.
func (s *state) keep(k *Case, b *Broker, round int, r *Result) error {
	if s.file == nil {
		return nil
	}
	name, err := what(k, b, round)
	if err != nil {
		return err
	}
	line, err := json.Marshal(measured{At: time.Now(), Of: name, Result: *r})
	if err != nil {
		return fmt.Errorf("bench: state: %w", err)
	}
	if _, err := s.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("bench: state: %w", err)
	}
	return nil
}

// close closes the file, and removes it if nobody needs it any more.
func (s *state) close(done bool) error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if done {
		err = errors.Join(err, os.Remove(s.file.Name()))
	}
	return err
}
