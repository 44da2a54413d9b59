package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// payloadMax is the largest payload a packet can have room for (MQTT 5, 1.5.5).
const payloadMax = 268_435_455

// A Source gives payloads one after the other, then io.EOF.
type Source func() ([]byte, error)

// One is a source of a single payload.
func One(payload []byte) Source {
	given := false
	return func() ([]byte, error) {
		if given {
			return nil, io.EOF
		}
		given = true
		return payload, nil
	}
}

// Whole is a source of everything r gives, as a single payload.
func Whole(r io.Reader) Source {
	given := false
	return func() ([]byte, error) {
		if given {
			return nil, io.EOF
		}
		given = true
		payload, err := io.ReadAll(io.LimitReader(r, payloadMax+1))
		if len(payload) > payloadMax {
			return nil, fmt.Errorf("no packet has room for more than %d bytes", payloadMax)
		}
		return payload, err
	}
}

// Lines is a source of the lines of r without their ends; the last one need not have any.
func Lines(r io.Reader) Source { return scanned(r, bufio.ScanLines) }

// Pieces is a source of what stands between delimiters. What follows the last one need not have any.
func Pieces(r io.Reader, delimiter string) Source {
	return scanned(r, func(data []byte, atEOF bool) (advance int, token []byte, err error) {
		if i := bytes.Index(data, []byte(delimiter)); i >= 0 {
			return i + len(delimiter), data[:i], nil
		}
		if atEOF && len(data) > 0 {
			return len(data), data, nil
		}
		return 0, nil, nil
	})
}

func scanned(r io.Reader, split bufio.SplitFunc) Source {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, payloadMax)
	scanner.Split(split)
	return func() ([]byte, error) {
		if scanner.Scan() {
			return bytes.Clone(scanner.Bytes()), nil
		}
		if errors.Is(scanner.Err(), bufio.ErrTooLong) {
			return nil, fmt.Errorf("no packet has room for a payload of %d bytes", payloadMax)
		}
		if scanner.Err() != nil {
			return nil, scanner.Err()
		}
		return nil, io.EOF
	}
}

// AtMost is a source that ends after n payloads.
func AtMost(n int, s Source) Source {
	return func() ([]byte, error) {
		if n <= 0 {
			return nil, io.EOF
		}
		n--
		return s()
	}
}

// Paced is a source that gives no more than so many payloads a second, evenly spread. What
// it was late with is not made up for.
func Paced(perSecond float64, s Source) Source {
	gap := time.Duration(float64(time.Second) / perSecond)
	var next time.Time
	return func() ([]byte, error) {
		payload, err := s()
		if err != nil {
			return nil, err
		}
		time.Sleep(time.Until(next))
		if now := time.Now(); next.Add(gap).Before(now) {
			next = now
		}
		next = next.Add(gap)
		return payload, nil
	}
}

// A piece is what a Source returned.
type piece struct {
	payload []byte
	err     error
}

// pieces reads the source in a goroutine of its own until its end or an error, or until ctx ends. The goroutine is not waited
// for: nothing interrupts the reading of a terminal, so it may stay there until the process ends.
func (s Source) pieces(ctx context.Context) <-chan piece {
	out := make(chan piece)
	go func() {
		for {
			payload, err := s()
			select {
			case out <- piece{payload, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}
