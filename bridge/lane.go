package bridge

import (
	"hash/maphash"
	"sync"

	"github.com/penstockmq/penstock/hooks"
)

// lanes let one message of a topic at a time through from the question whether it is new until it is in every queue. Two ways that lead
// here both keep the order; without lanes the second message could overtake the first between the two: the first came
// on one way, and the second, on the other, is let through because the first was.
type lanes struct {
	seed maphash.Seed
	all  [256]sync.Mutex
	used sync.Map // *hooks.Client -> *sync.Mutex that its connection holds
}

func newLanes() *lanes { return &lanes{seed: maphash.MakeSeed()} }

func (l *lanes) of(topic string) *sync.Mutex {
	return &l.all[maphash.String(l.seed, topic)%uint64(len(l.all))]
}

// enter waits for the messages of the topic before. leave must follow.
func (l *lanes) enter(client *hooks.Client, topic string) {
	lane := l.of(topic)
	lane.Lock()
	l.used.Store(client, lane)
}

// holds reports whether the client's connection is in a lane.
func (l *lanes) holds(client *hooks.Client) bool {
	_, ok := l.used.Load(client)
	return ok
}

// leave is harmless without enter.
func (l *lanes) leave(client *hooks.Client) {
	if lane, ok := l.used.LoadAndDelete(client); ok {
		lane.(*sync.Mutex).Unlock()
	}
}
