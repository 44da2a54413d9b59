package script

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A wire is one connection of a client: a goroutine reads what the server sends into lines, and another
// writes, so that no step ever waits for the server.
type wire struct {
	// Fixed when newWire returns.
	socket  net.Conn
	version byte
	manual  bool // the client acknowledges nothing by itself
	show    bool // CONNACK with all its properties
	id      func(assigned string) string
	running sync.WaitGroup
	work    chan struct{} // holds a token while something waits to be written
	over    chan struct{} // closed by close
	once    sync.Once

	mu     sync.Mutex // guards what follows
	rules  *conduct
	lines  []string      // received and not yet collected
	ended  bool          // the server closed the connection
	queue  [][]byte      // to be written
	resume chan struct{} // not nil while the client does not read
}

func newWire(socket net.Conn, version byte, rules *conduct, id func(string) string) *wire {
	return &wire{socket: socket, version: version, rules: rules, id: id, work: make(chan struct{}, 1), over: make(chan struct{})}
}

// start begins reading and writing; close ends both.
func (w *wire) start() {
	w.running.Go(w.read)
	w.running.Go(w.write)
}

func (w *wire) close() {
	w.once.Do(func() { close(w.over) })
	w.socket.Close()
	w.running.Wait()
}

// send queues bytes to be written.
func (w *wire) send(b []byte) {
	w.mu.Lock()
	w.queue = append(w.queue, b)
	w.mu.Unlock()
	select {
	case w.work <- struct{}{}:
	default:
	}
}

func (w *wire) write() {
	for {
		w.mu.Lock()
		queue := w.queue
		w.queue = nil
		w.mu.Unlock()
		for _, b := range queue {
			if _, err := w.socket.Write(b); err != nil {
				return
			}
		}
		select {
		case <-w.work:
		case <-w.over:
			return
		}
	}
}

// stall stops reading until release.
func (w *wire) stall() {
	w.mu.Lock()
	w.resume = make(chan struct{})
	w.mu.Unlock()
	w.socket.SetReadDeadline(time.Now()) // ends a read that has begun
}

func (w *wire) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resume != nil {
		w.socket.SetReadDeadline(time.Time{})
		close(w.resume)
		w.resume = nil
	}
}

// released waits while the client does not read; it reports false when the wire is closed.
func (w *wire) released() bool {
	w.mu.Lock()
	resume := w.resume
	w.mu.Unlock()
	if resume == nil {
		return true
	}
	select {
	case <-resume:
		return true
	case <-w.over:
		return false
	}
}

func (w *wire) read() {
	var pending []byte
	buffer := make([]byte, 4096)
	for w.released() {
		n, err := w.socket.Read(buffer)
		pending = w.take(append(pending, buffer[:n]...))
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ended = true
		if len(pending) > 0 {
			w.lines = append(w.lines, fmt.Sprintf("VIOLATION % x is not a whole packet", pending))
		}
		if err == io.EOF {
			w.lines = append(w.lines, "closed")
		}
		return
	}
}

// take notes the whole packets in b and returns the rest.
func (w *wire) take(b []byte) []byte {
	for {
		one, rest, ok := cut(b)
		if !ok {
			return rest
		}
		b = rest
		p, err := decode(one, w.version)
		w.mu.Lock()
		if err != nil {
			w.lines = append(w.lines, fmt.Sprintf("VIOLATION % x: %v", one, err))
			w.mu.Unlock()
			continue
		}
		w.note(p)
		w.mu.Unlock()
		if !w.manual {
			w.answer(p)
		}
	}
}

func (w *wire) note(p *received) {
	for i := range p.values {
		if p.values[i].name == "assigned" {
			p.values[i].text = w.id(p.values[i].text)
		}
	}
	if wrong := w.rules.received(p); wrong != "" {
		w.lines = append(w.lines, "VIOLATION "+wrong)
	}
	w.lines = append(w.lines, p.line(w.version, w.show))
}

// answer acknowledges as a client must [MQTT5-4.5.0-2].
func (w *wire) answer(p *received) {
	switch {
	case p.kind == publish && p.qos == 1:
		w.ack(puback, p.id)
	case p.kind == publish && p.qos == 2:
		w.ack(pubrec, p.id)
	case p.kind == pubrel:
		w.ack(pubcomp, p.id)
	case p.kind == pubrec && !p.code.Failed():
		w.ack(pubrel, p.id)
	}
}

func (w *wire) ack(kind byte, id uint16) {
	w.sent(kind, id, false)
	w.send(encodeAck(kind, id, 0, nil))
}

// sent tells the rules of an acknowledgement.
func (w *wire) sent(kind byte, id uint16, failed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rules.sent(kind, id, failed)
}

// collect takes the lines received since the last time.
func (w *wire) collect() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := w.lines
	w.lines = nil
	return lines
}

// isEnded reports whether the server has closed the connection.
func (w *wire) isEnded() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}
