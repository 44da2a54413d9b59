//go:build unix

package listener

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// noDelay asks the system whether TCP_NODELAY is on.
func noDelay(t *testing.T, nc *net.TCPConn) bool {
	t.Helper()
	raw, err := nc.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var value int
	var failure error
	err = raw.Control(func(fd uintptr) {
		value, failure = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY)
	})
	if err != nil || failure != nil {
		t.Fatal(err, failure)
	}
	return value != 0
}
