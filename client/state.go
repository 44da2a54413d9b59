package client

import (
	mqtt "github.com/eclipse/paho.mqtt.golang"

	paho5 "github.com/eclipse/paho.golang/paho/session/state"
)

// A state is what the client knows of its session from one connection to the next.
type state struct {
	mqtt5 *paho5.State
	mqtt3 mqtt.Store
}

func newState() *state { return &state{mqtt5: paho5.NewInMemory(), mqtt3: mqtt.NewMemoryStore()} }

// close gives up what the session still waits for.
func (s *state) close() {
	_ = s.mqtt5.Close() // it has no way to fail
}
