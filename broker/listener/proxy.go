package listener

import (
	"bufio"
	"errors"
	"net"

	"github.com/pires/go-proxyproto"
)

// headerBuffer is how many bytes of a connection are read at once while looking for a PROXY
// header: a version 1 header, which must come in one piece, has at most 107, and a
// version 2 header longer than this is read in several.
const headerBuffer = 256

// expectsHeader reports whether a PROXY header may come first.
func (g *gate) expectsHeader() bool {
	return g.cfg.ProxyProtocol == "optional" || g.cfg.ProxyProtocol == "required"
}

// readHeader is the PROXY protocol step.
func (g *gate) readHeader(a *arrival) error {
	r := bufio.NewReaderSize(a.conn, headerBuffer)
	header, err := proxyproto.Read(r)
	if errors.Is(err, proxyproto.ErrNoProxyProtocol) && g.cfg.ProxyProtocol == "optional" {
		header, err = nil, nil
	}
	if err != nil {
		return err
	}
	if header != nil && !header.Command.IsLocal() { // LOCAL: the proxy itself, checking our health
		if err := believable(header.SourceAddr, a.peer.Remote); err != nil {
			return err
		}
		a.peer.Remote = header.SourceAddr
	}
	if n := r.Buffered(); n > 0 {
		ahead, _ := r.Peek(n)
		a.conn = &aheadConn{Conn: a.conn, ahead: ahead}
	}
	return nil
}

// believable refuses an announced address that would be trusted more than the one that announces it: clients
// of this machine may be let in without a password.
func believable(announced, actual net.Addr) error {
	switch announced.(type) {
	case *net.TCPAddr, *net.UnixAddr:
	default:
		return errNotStream
	}
	if ofThisMachine(announced) && !ofThisMachine(actual) {
		return errSpoofed
	}
	return nil
}

func ofThisMachine(a net.Addr) bool {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// An aheadConn is a connection of which some bytes were read ahead.
type aheadConn struct {
	net.Conn
	ahead []byte // what Read returns first
}

// Read returns what was read ahead, then reads from the connection.
func (c *aheadConn) Read(b []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil // lets go of the buffer
	}
	return n, nil
}

// CloseWrite ends what we send, where the connection can.
func (c *aheadConn) CloseWrite() error { return closeWrite(c.Conn) }

// closeWrite shuts down the writing side of TCP, TLS and Unix connections.
func closeWrite(nc net.Conn) error {
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
