// Package loopback has what tests need of this machine's own network: addresses at which nobody listens, and servers of a few
// lines that stand in for a broker.
//
// It speaks no MQTT. It has no nouns, and is tested by the tests that reach its servers, and do not reach its addresses.
package loopback

import (
	"net"
	"testing"
)

const anyPort = "127.0.0.1:0"

// FreeAddress is an address, host:port, at which nobody listens now.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Serve answers each connection with serve, which returns when the connection may close, and returns the address. It takes
// connections until the test ends.
func Serve(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}
