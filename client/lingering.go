package client

import (
	"io"
	"net"
	"sync"
	"time"
)

// farewell is how long a broker may take to close its side after we closed ours.
const farewell = time.Second

// A lingering connection closes without losing what it sent last. Closing a socket that holds bytes nobody read
// makes the system send a reset, and a reset makes the other side forget what it has not read: the
// last acknowledgement, the DISCONNECT. So Close ends the writing, reads to the end, and closes then.
type lingering struct {
	net.Conn
	patience time.Duration // for a write
	closing  sync.Once

	mu     sync.Mutex // held while reading, guards closed
	closed bool
}

// Read reads what arrives until Close.
func (l *lingering) Read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, net.ErrClosed
	}
	return l.Conn.Read(b)
}

// Write waits for a broker that does not read, but not forever.
func (l *lingering) Write(b []byte) (int, error) {
	if err := l.Conn.SetWriteDeadline(time.Now().Add(l.patience)); err != nil {
		return 0, err
	}
	return l.Conn.Write(b)
}

// Close closes the connection when the broker has closed its side, or after a second. Twice is harmless.
func (l *lingering) Close() (err error) {
	l.closing.Do(func() {
		// Errors up to the last line mean that there is nobody left to take leave of.
		_ = l.Conn.SetReadDeadline(time.Now().Add(farewell))
		if half, ok := l.Conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		l.mu.Lock() // a Read under way ends with the deadline
		defer l.mu.Unlock()
		l.closed = true
		_, _ = io.Copy(io.Discard, l.Conn)
		err = l.Conn.Close()
	})
	return err
}
