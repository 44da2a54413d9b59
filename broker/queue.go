package broker

import (
	"errors"

	"github.com/penstockmq/penstock/hooks"
)

// OpenQueue implements hooks.Broker.
func (b *Broker) OpenQueue(hook, name string, in hooks.Intake, made func(error)) (hooks.Queue, error) {
	return nil, errors.ErrUnsupported
}

// Queues implements hooks.Broker.
func (b *Broker) Queues(hook string) []string { return nil }

// Save implements hooks.Broker.
func (b *Broker) Save(hook string, records []hooks.Record, done func(error)) {}

// Saved implements hooks.Broker.
func (b *Broker) Saved(hook string, visit func(key string, value []byte)) {}

// Serve implements hooks.Broker.
func (b *Broker) Serve(filter string, m hooks.Members) (release func(), err error) {
	return nil, errors.ErrUnsupported
}

// HookRecord implements storage.Visitor.
func (l *loader) HookRecord(hook, key string, value []byte) error { return nil }
