package listener

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// closeFrameTimeout bounds how long Close waits for room for the close frame.
const closeFrameTimeout = 100 * time.Millisecond

// A wsConn is a WebSocket as a stream of bytes: packets may be cut anywhere across frames and
// share them [MQTT5-6.0.0-2]. As with any net.Conn, one goroutine may read while another writes, and
// deadlines reach calls that are waiting; but a read or write that missed its deadline may have cut a frame, so
// every later one fails too.
type wsConn struct {
	// Fixed when newWSConn returns.
	ws  *websocket.Conn
	raw net.Conn // under the frames; it has the deadlines
	// Only the reader touches these.
	message io.Reader // the rest of the message being read, nil between messages
	readErr error     // stays
	// Shared.
	writing sync.Mutex // held while one frame is written
	ended   sync.Once  // the close frame was sent
	closed  atomic.Bool
}

func newWSConn(ws *websocket.Conn, raw net.Conn) *wsConn { return &wsConn{ws: ws, raw: raw} }

// Read reads from the frames as from a stream.
func (c *wsConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for c.readErr == nil {
		if c.message == nil {
			c.message, c.readErr = c.next()
			continue
		}
		n, err := c.message.Read(b)
		if err == io.EOF {
			c.message, err = nil, nil
		}
		if err != nil {
			c.readErr = c.plain(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, c.readErr
}

// next waits for the next message, which must be binary [MQTT5-6.0.0-1].
func (c *wsConn) next() (io.Reader, error) {
	kind, r, err := c.ws.NextReader()
	if err != nil {
		return nil, c.plain(err)
	}
	if kind != websocket.BinaryMessage {
		_ = c.end(websocket.CloseUnsupportedData, "MQTT needs binary frames")
		return nil, errors.Join(errNoBinary, c.raw.Close())
	}
	return r, nil
}

// Write sends b as one binary frame.
func (c *wsConn) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.ws.WriteMessage(websocket.BinaryMessage, b); err != nil {
		return 0, c.plain(err)
	}
	return len(b), nil
}

// plain turns the codec's errors, which hide theirs, into those of a net.Conn.
func (c *wsConn) plain(err error) error {
	var closed *websocket.CloseError
	var network net.Error
	switch {
	case c.closed.Load():
		return net.ErrClosed
	case errors.As(err, &closed):
		return io.EOF
	case errors.As(err, &network) && network.Timeout():
		return os.ErrDeadlineExceeded
	}
	return err
}

// end sends a close frame, if none was sent and there is room for it soon.
func (c *wsConn) end(code int, text string) (err error) {
	c.ended.Do(func() {
		deadline := time.Now().Add(closeFrameTimeout)
		_ = c.raw.SetWriteDeadline(deadline) // also ends a Write that waits
		err = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), deadline)
	})
	return err
}

// CloseWrite sends a close frame and shuts down the writing side of the connection below.
func (c *wsConn) CloseWrite() error {
	return errors.Join(c.end(websocket.CloseNormalClosure, ""), closeWrite(c.raw))
}

// Close sends a close frame and closes the connection below.
func (c *wsConn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	_ = c.end(websocket.CloseNormalClosure, "") // the peer may be gone
	return c.raw.Close()
}

// LocalAddr is our address.
func (c *wsConn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr is the address of the other side of the connection below.
func (c *wsConn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// SetDeadline sets both deadlines.
func (c *wsConn) SetDeadline(t time.Time) error { return c.raw.SetDeadline(t) }

// SetReadDeadline sets when a Read fails.
func (c *wsConn) SetReadDeadline(t time.Time) error { return c.raw.SetReadDeadline(t) }

// SetWriteDeadline sets when a Write fails.
func (c *wsConn) SetWriteDeadline(t time.Time) error { return c.raw.SetWriteDeadline(t) }
