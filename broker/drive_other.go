//go:build !unix

package broker

import "net"

// A rawSocket is for systems whose sockets can be tried without blocking.
type rawSocket struct{}

func newRawSocket(net.Conn) *rawSocket { return nil }

func (*rawSocket) read() (*[]byte, int, error) { panic("broker: no raw sockets on this system") }

func (*rawSocket) write(parcel) (int, error) { panic("broker: no raw sockets on this system") }
