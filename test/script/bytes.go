package script

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// A writing is bytes being put together.
type writing []byte

func (w *writing) byte(b byte)    { *w = append(*w, b) }
func (w *writing) two(n uint16)   { *w = binary.BigEndian.AppendUint16(*w, n) }
func (w *writing) four(n uint32)  { *w = binary.BigEndian.AppendUint32(*w, n) }
func (w *writing) bytes(b []byte) { *w = append(*w, b...) }
func (w *writing) text(s string)  { w.two(uint16(len(s))); *w = append(*w, s...) }
func (w *writing) sized(b []byte) { w.varint(uint32(len(b))); w.bytes(b) }

// properties appends properties with their length, which versions before 5 do not have.
func (w *writing) properties(version byte, b []byte) {
	if version == 5 {
		w.sized(b)
	}
}

func (w *writing) varint(n uint32) {
	for n >= 0x80 {
		w.byte(byte(n) | 0x80)
		n >>= 7
	}
	w.byte(byte(n))
}

// frame is a whole packet.
func frame(first byte, body []byte) []byte {
	var w writing
	w.byte(first)
	w.sized(body)
	return w
}

// A reading takes bytes apart. After its end it yields zeros and short is set.
type reading struct {
	rest     []byte
	short    bool
	wasteful bool // a variable byte integer took more bytes than it needs [MQTT5-1.5.5-1]
}

func (r *reading) take(n int) []byte {
	if n > len(r.rest) {
		r.short = true
		r.rest = nil
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reading) byte() byte   { return r.take(1)[0] }
func (r *reading) two() uint16  { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reading) four() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reading) text() string { return string(r.take(int(r.two()))) }
func (r *reading) varint() uint32 {
	var n uint32
	for shift := 0; shift < 28; shift += 7 {
		b := r.byte()
		n |= uint32(b&0x7F) << shift
		if b < 0x80 {
			r.wasteful = r.wasteful || b == 0 && shift > 0
			return n
		}
	}
	r.short = true
	return 0
}

// rawBytes reads the language of the raw step: hex, "text", s"text", 00*9 and brackets.
func rawBytes(list []string) ([]byte, error) {
	open := []writing{nil}
	for _, w := range list {
		last := len(open) - 1
		switch {
		case w == "[":
			open = append(open, nil)
		case w == "]":
			if last == 0 {
				return nil, fmt.Errorf("raw: ] without [")
			}
			inner := open[last]
			open = open[:last]
			open[last-1].sized(inner)
		default:
			if err := rawWord(&open[last], w); err != nil {
				return nil, err
			}
		}
	}
	if len(open) != 1 {
		return nil, fmt.Errorf("raw: [ without ]")
	}
	return open[0], nil
}

func rawWord(to *writing, word string) error {
	word, times, repeated := strings.Cut(word, "*")
	count := 1
	if repeated {
		n, err := strconv.Atoi(times)
		if err != nil {
			return fmt.Errorf("raw: %w", err)
		}
		count = n
	}
	one, err := rawOne(word)
	if err != nil {
		return err
	}
	for range count {
		to.bytes(one)
	}
	return nil
}

func rawOne(word string) ([]byte, error) {
	if strings.HasPrefix(word, `"`) {
		text, err := strconv.Unquote(word)
		return []byte(text), err
	}
	if sized, ok := strings.CutPrefix(word, "s"); ok {
		var w writing
		text, err := strconv.Unquote(sized)
		w.text(text)
		return w, err
	}
	b, err := hex.DecodeString(word)
	if err != nil {
		return nil, fmt.Errorf("raw: %q: %w", word, err)
	}
	return b, nil
}
