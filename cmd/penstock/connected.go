package main

import (
	"slices"
	"sync"

	"github.com/penstockmq/penstock/hooks"
)

// connected is the hook that knows who is connected, so that a change of an account finds its clients.
type connected struct {
	mu      sync.Mutex // guards what follows; a leaf
	clients map[string]*hooks.Client
}

func newConnected() *connected { return &connected{clients: make(map[string]*hooks.Client)} }

// of lists the clients of some users.
func (c *connected) of(users []string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for id, client := range c.clients {
		if slices.Contains(users, client.Username) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Name identifies the hook.
func (c *connected) Name() string { return "connected" }

// OnConnect notes a client.
func (c *connected) OnConnect(client *hooks.Client, _ bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clients[client.ID] = client
}

// OnDisconnect forgets a client, unless another connection has taken its identifier over.
func (c *connected) OnDisconnect(client *hooks.Client, _ string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients[client.ID] == client {
		delete(c.clients, client.ID)
	}
}

// OnSessionEnd is of no interest.
func (c *connected) OnSessionEnd(string, string) {}

// OnUnsubscribe is of no interest.
func (c *connected) OnUnsubscribe(*hooks.Client, string) {}
