package bench

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// A state is a file of measurements, a line each, from which a comparison goes on.
type state struct {
	file     *os.File // nil if nothing is kept
	known    map[string]Result
	programs map[string]string // digests of brokers' programs, by path
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
	s := &state{known: make(map[string]Result), programs: make(map[string]string)}
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

// name names a measurement by all that its result depends on: another build of a broker or other options make another one.
func (s *state) name(k *Case, b *Broker, round int) (string, error) {
	program, err := s.digest(b.Path)
	if err != nil {
		return "", fmt.Errorf("bench: state: %w", err)
	}
	options, err := json.Marshal(k.Options)
	if err != nil {
		return "", fmt.Errorf("bench: state: %w", err)
	}
	return fmt.Sprintf("%s %s %d %q %t %d %d %s %s %s", k.Name, k.Group, k.Ending, k.Environment, k.Metered, k.Channels, round, b.Name, program, options), nil
}

// digest is that of a program. Its time would not do: building it again changes that, and nothing else.
func (s *state) digest(path string) (string, error) {
	if known := s.programs[path]; known != "" {
		return known, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	s.programs[path] = hex.EncodeToString(h.Sum(nil))
	return s.programs[path], nil
}

// find returns the result of a measurement that was made.
func (s *state) find(k *Case, b *Broker, round int) (Result, bool) {
	if len(s.known) == 0 {
		return Result{}, false
	}
	name, err := s.name(k, b, round)
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
	name, err := s.name(k, b, round)
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
