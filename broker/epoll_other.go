//go:build !linux

package broker

import (
	"errors"
	"net"
)

// newEpoll fails: goroutines serve the connections.
func newEpoll(int) (poller, error) { return nil, errors.New("event loops are for Linux") }

func isSocket(net.Conn) bool { return false }
