package memory

import (
	"bytes"
	"maps"

	"github.com/penstockmq/penstock/storage"
)

// A hookKey names the record of a hook.
type hookKey struct{ hook, key string }

func (r *records) putHookRecord(p storage.PutHookRecord) {
	value := bytes.Clone(p.Value) // the hook may use its bytes again
	r.hooksMu.Lock()
	defer r.hooksMu.Unlock()
	r.hooks[hookKey{p.Hook, p.Key}] = value
}

func (r *records) deleteHookRecord(d storage.DeleteHookRecord) {
	r.hooksMu.Lock()
	defer r.hooksMu.Unlock()
	delete(r.hooks, hookKey{d.Hook, d.Key})
}

func (r *records) visitHooks(v storage.Visitor) error {
	r.hooksMu.Lock()
	found := maps.Clone(r.hooks)
	r.hooksMu.Unlock()
	for k, value := range found {
		if err := v.HookRecord(k.hook, k.key, bytes.Clone(value)); err != nil {
			return err
		}
	}
	return nil
}
