package bridge

import (
	"bufio"
	"net"
	"sync"
	"time"
)

// Bounds of a connection.
const (
	streamReadSize = 64 << 10
	streamWriteMax = 1 << 20 // bytes that the socket has not taken, before who writes must wait
	streamFarewell = time.Second
)

// A stream is a connection whose writes are gathered: while the socket takes some, others collect, and go in one piece.
type stream struct {
	net.Conn
	reader  *bufio.Reader
	timeout time.Duration // for the socket to take something
	done    chan struct{} // closed when the writer has ended

	packet sync.Mutex // held for a whole packet; taken before mu

	mu     sync.Mutex // guards what follows
	more   sync.Cond  // there is something to write, or it is over
	room   sync.Cond  // the writer took what there was
	out    []byte
	err    error
	closed bool
}

func newStream(c net.Conn, timeout time.Duration) *stream {
	s := &stream{Conn: c, reader: bufio.NewReaderSize(c, streamReadSize), timeout: timeout, done: make(chan struct{})}
	s.more.L, s.room.L = &s.mu, &s.mu
	go s.write()
	return s
}

// Read implements net.Conn.
func (s *stream) Read(b []byte) (int, error) { return s.reader.Read(b) }

// Write implements net.Conn. It waits while too much is waiting for the socket.
func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.out) > 0 && len(s.out)+len(b) > streamWriteMax && s.err == nil && !s.closed {
		s.room.Wait()
	}
	switch {
	case s.err != nil:
		return 0, s.err
	case s.closed:
		return 0, net.ErrClosed
	}
	s.out = append(s.out, b...)
	s.more.Signal()
	return len(b), nil
}

// send writes a whole packet.
func (s *stream) send(frame []byte) error {
	s.packet.Lock()
	defer s.packet.Unlock()
	_, err := s.Write(frame)
	return err
}

// write is the goroutine that hands the socket what was gathered.
func (s *stream) write() {
	defer close(s.done)
	defer s.Conn.Close()
	var spare []byte
	for {
		s.mu.Lock()
		for len(s.out) == 0 && s.err == nil && !s.closed {
			s.more.Wait()
		}
		batch, over := s.out, s.err != nil || (s.closed && len(s.out) == 0)
		s.out = spare[:0]
		s.room.Broadcast()
		s.mu.Unlock()
		if over {
			return
		}
		if err := s.push(batch); err != nil {
			s.fail(err)
			return
		}
		if spare = batch; cap(spare) > 2*streamWriteMax {
			spare = nil
		}
	}
}

func (s *stream) push(b []byte) error {
	s.mu.Lock()
	patience := s.timeout
	if s.closed {
		patience = streamFarewell
	}
	s.mu.Unlock()
	if err := s.Conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := s.Conn.Write(b)
	return err
}

func (s *stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.room.Broadcast()
	s.more.Broadcast()
}

// SetWriteDeadline implements net.Conn: the stream has deadlines of its own.
func (s *stream) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline implements net.Conn, for reading.
func (s *stream) SetDeadline(t time.Time) error { return s.Conn.SetReadDeadline(t) }

// Close implements net.Conn: what was written before is still sent, if the other side takes it in time. Twice is harmless.
func (s *stream) Close() error {
	s.mu.Lock()
	s.closed = true
	s.more.Broadcast()
	s.room.Broadcast()
	s.mu.Unlock()
	// One fails if the connection is gone, and then the writer has ended too.
	_ = s.Conn.SetReadDeadline(time.Now())
	_ = s.Conn.SetWriteDeadline(time.Now().Add(streamFarewell))
	<-s.done
	return nil
}

// A lockedStream is a stream for paho.golang, which writes a packet in pieces and locks a connection that is a sync.Locker
// for the time of it.
type lockedStream struct{ *stream }

// Lock implements sync.Locker.
func (s lockedStream) Lock() { s.packet.Lock() }

// Unlock implements sync.Locker.
func (s lockedStream) Unlock() { s.packet.Unlock() }
