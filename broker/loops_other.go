//go:build !linux

package broker

import (
	"context"
	"net"
)

// Event loops are for Linux.
type loops struct{}

func newLoops(*Broker) *loops { return nil }

func (*loops) attach(*conn, net.Conn) bool { return false }

func (*loops) end(context.Context) {}
