package hooks

import "errors"

// What Broker.Deliver fails with.
var (
	ErrOffline = errors.New("client is not connected")
	ErrBusy    = errors.New("client has no room for another message")
)
