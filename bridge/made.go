package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
)

// madePrefix begins the keys of bridges that were made at run time.
const madePrefix = "made/"

// ErrConfigured tells that a bridge is in the configuration, and changes there.
var ErrConfigured = errors.New("the bridge is in the configuration")

// restore takes a bridge that was made at run time.
func (h *Hook) restore(name string, value []byte) {
	var b configs.Bridge
	if err := json.Unmarshal(value, &b); err != nil {
		h.log.Error("bridge not restored", "bridge", name, "err", err)
		return
	}
	h.made[name] = b
}

// all are the bridges of the configuration, and those made at run time whose names are not among them.
func (h *Hook) all() []configs.Bridge {
	bridges := slices.Clone(h.wanted)
	for _, name := range slices.Sorted(maps.Keys(h.made)) {
		if !h.configured(name) {
			bridges = append(bridges, h.made[name])
		}
	}
	return bridges
}

func (h *Hook) configured(name string) bool {
	return slices.ContainsFunc(h.wanted, func(b configs.Bridge) bool { return b.Name == name })
}

// Put makes or changes a bridge that is not in the configuration. It outlives a restart.
func (h *Hook) Put(b configs.Bridge) error {
	h.changing.Lock()
	defer h.changing.Unlock()
	if h.configured(b.Name) {
		return fmt.Errorf("%w: %s", ErrConfigured, b.Name)
	}
	value, err := json.Marshal(b)
	if err != nil {
		return err
	}
	if err := h.saveNow(hooks.Record{Key: madePrefix + b.Name, Value: value}); err != nil {
		return err
	}
	h.made[b.Name] = b
	return h.adjust()
}

// Delete removes a bridge that is not in the configuration, with its queue.
func (h *Hook) Delete(name string) error {
	h.changing.Lock()
	defer h.changing.Unlock()
	if h.configured(name) {
		return fmt.Errorf("%w: %s", ErrConfigured, name)
	}
	delete(h.made, name)
	if err := h.adjust(); err != nil {
		return err
	}
	h.mu.Lock()
	box := h.boxes[name]
	delete(h.boxes, name)
	h.mu.Unlock()
	if box == nil {
		return fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	gone := []hooks.Record{{Key: madePrefix + name}, {Key: pausedKey(name)}, {Key: lastKey(name)}, {Key: releasedKey(name)}}
	for _, kind := range []string{"session/", "left/", "taken/", "filters/"} {
		for _, key := range h.recordsBelow(kind + name + "/") {
			gone = append(gone, hooks.Record{Key: key})
		}
	}
	deleted := make(chan error, 1)
	box.queue.Delete(func(err error) { deleted <- err })
	if err := <-deleted; err != nil {
		return fmt.Errorf("store: %w", err)
	}
	h.log.Info("bridge deleted", "bridge", name, "dropped", box.len.Load())
	return h.saveNow(gone...)
}
