package main

import (
	"errors"
	"fmt"

	"github.com/penstockmq/penstock/admin"
	"github.com/penstockmq/penstock/bridge"
	"github.com/penstockmq/penstock/configs"
)

// bridges is what operators ask of the bridges.
type bridges struct{ hook *bridge.Hook }

// Bridges implements admin.Bridges.
func (b bridges) Bridges() []admin.BridgeStatus {
	all := []admin.BridgeStatus{}
	for _, s := range b.hook.Status() {
		all = append(all, admin.BridgeStatus{
			Name: s.Name, State: string(s.State), Address: s.Address, Version: s.Version, ClientID: s.ClientID, Since: s.Since,
			Reason: s.Reason, ReasonAt: s.Failed, Refused: s.Refused,
			QueueMessages: s.QueueMessages, QueueBytes: s.QueueBytes, QueueAge: s.QueueAge, Inflight: s.Inflight,
			Sent: s.Sent, Received: s.Received, SentBytes: s.SentBytes, ReceivedBytes: s.ReceivedBytes,
			SentRate: s.SentRate, ReceivedRate: s.ReceivedRate, Resent: s.Resent, Connects: s.Connects,
			RoundTrip: s.RoundTrip, Dropped: s.Dropped,
		})
	}
	return all
}

// Dropped implements admin.Bridges.
func (b bridges) Dropped() map[string]uint64 { return b.hook.Dropped() }

// Pause implements admin.Bridges.
func (b bridges) Pause(name string) error { return blame(b.hook.Pause(name)) }

// Resume implements admin.Bridges.
func (b bridges) Resume(name string) error { return blame(b.hook.Resume(name)) }

// Delete implements admin.Bridges.
func (b bridges) Delete(name string) error { return blame(b.hook.Delete(name)) }

// Put implements admin.Bridges.
func (b bridges) Put(name string, yaml []byte) error {
	made, err := configs.ParseBridge(name, yaml)
	if err != nil {
		return fmt.Errorf("%w: %w", admin.ErrBadBridge, err)
	}
	if made.Name != name {
		return fmt.Errorf("%w: its name is %q", admin.ErrBadBridge, made.Name)
	}
	return blame(b.hook.Put(made))
}

// blame tells the errors of who asked from others.
func blame(err error) error {
	switch {
	case errors.Is(err, bridge.ErrUnknown):
		return fmt.Errorf("%w: %w", admin.ErrNoBridge, err)
	case errors.Is(err, bridge.ErrConfigured):
		return fmt.Errorf("%w: %w", admin.ErrBadBridge, err)
	}
	return err
}
