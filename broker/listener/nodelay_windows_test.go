package listener

import (
	"net"
	"testing"
)

// noDelay cannot be asked of Windows through the net package, which sets it.
func noDelay(*testing.T, *net.TCPConn) bool { return true }
