package broker

import (
	"container/heap"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/session"
	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// retainedMessages are the last retained message of each topic.
type retainedMessages struct {
	tree  *topic.Tree[*packet.Message]
	bytes atomic.Int64

	writing sync.Mutex // held while what is there is compared and replaced; only mu is taken after it

	mu      sync.Mutex // guards what follows; a leaf in the lock order
	expiry  expiryHeap // what was replaced or deleted stays in it until its time, or until pruneLocked
	pruneAt int
	timer   *time.Timer
}

func newRetained() *retainedMessages {
	return &retainedMessages{tree: topic.NewTree[*packet.Message]()}
}

func (r *retainedMessages) len() int { return r.tree.Len() }

// retain keeps m as the retained message of its topic, or deletes that when the payload is empty
// [MQTT5-3.3.1-5] [MQTT5-3.3.1-6] [MQTT5-3.3.1-7] [MQTT311-3.3.1-5] [MQTT311-3.3.1-7] [MQTT311-3.3.1-10]
// [MQTT311-3.3.1-11]. It returns what was there before, nil if nothing, and whether the store is to follow.
func (b *Broker) retain(t *turn, m *packet.Message) (replaced *packet.Message, follow bool) {
	r := b.retained
	r.writing.Lock()
	defer r.writing.Unlock()
	if len(m.Payload) == 0 {
		return r.delete(m.Topic), true
	}
	bytes := r.bytes.Load() + int64(m.Size())
	old, replaces := r.tree.Get(m.Topic)
	if replaces {
		bytes -= int64(old.Size())
	}
	if (!replaces && r.len() >= b.limits.MaxRetainedMessages) || bytes > b.limits.MaxRetainedBytes {
		t.drop("", m, hooks.DropRetainedFull)
		return nil, false
	}
	return r.set(b, m), true
}

// putBack undoes what retain did with m, because the store refused it. A later message that has
// taken its place stays.
func (r *retainedMessages) putBack(b *Broker, m, replaced *packet.Message) {
	r.writing.Lock()
	defer r.writing.Unlock()
	current, there := r.tree.Get(m.Topic)
	switch {
	case there && current != m, !there && len(m.Payload) > 0:
	case replaced != nil:
		r.set(b, replaced)
	default:
		r.delete(m.Topic)
	}
}

// delete returns what was there, nil if nothing.
func (r *retainedMessages) delete(name string) *packet.Message {
	old, had := r.tree.Delete(name)
	if had {
		r.bytes.Add(-int64(old.Size()))
	}
	return old
}

// set returns what was there before, nil if nothing.
func (r *retainedMessages) set(b *Broker, m *packet.Message) *packet.Message {
	old, had := r.tree.Set(m.Topic, m)
	r.bytes.Add(int64(m.Size()))
	if had {
		r.bytes.Add(-int64(old.Size()))
		b.counters.retainedOver.Add(1)
	}
	if m.Expires != 0 {
		r.expireLater(b, m)
	}
	return old
}

// expireLater puts m on the heap, so that it is deleted when it expires though nobody asks for it.
func (r *retainedMessages) expireLater(b *Broker, m *packet.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	heap.Push(&r.expiry, m)
	if len(r.expiry) > r.pruneAt {
		r.pruneLocked()
	}
	if len(r.expiry) > 0 && r.expiry[0] == m {
		r.armLocked(b)
	}
}

// pruneMin is how long the heap may be before it is searched for messages that were replaced.
const pruneMin = 64

// pruneLocked takes out what was replaced or deleted before its time. It is done each time the heap has
// doubled, so that it holds no more than twice what is retained, at a constant cost per message.
func (r *retainedMessages) pruneLocked() {
	r.expiry = slices.DeleteFunc(r.expiry, func(m *packet.Message) bool {
		current, ok := r.tree.Get(m.Topic)
		return !ok || current != m
	})
	heap.Init(&r.expiry)
	r.pruneAt = max(pruneMin, 2*len(r.expiry))
}

func (r *retainedMessages) armLocked(b *Broker) {
	if r.timer != nil {
		r.timer.Stop()
	}
	if len(r.expiry) == 0 || b.ctx.Err() != nil {
		return
	}
	r.timer = time.AfterFunc(time.Duration(r.expiry[0].Expires-time.Now().UnixNano()), func() { r.expire(b) })
}

// expire deletes what has expired (MQTT 5, 4.1: the retained message is discarded).
func (r *retainedMessages) expire(b *Broker) {
	now := time.Now().UnixNano()
	var due []*packet.Message
	r.mu.Lock()
	for len(r.expiry) > 0 && r.expiry[0].Expired(now) {
		due = append(due, heap.Pop(&r.expiry).(*packet.Message))
	}
	r.armLocked(b)
	r.mu.Unlock()
	for _, m := range due {
		if r.deleteOnly(m) {
			b.update(nil, storage.DeleteRetained{Topic: m.Topic})
		}
	}
}

// deleteOnly deletes m unless a later message has taken its place, and reports whether it did.
func (r *retainedMessages) deleteOnly(m *packet.Message) bool {
	r.writing.Lock()
	defer r.writing.Unlock()
	current, ok := r.tree.Get(m.Topic)
	if !ok || current != m {
		return false
	}
	r.delete(m.Topic)
	return true
}

func (r *retainedMessages) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
}

// A retainedDelivery is a QoS 0 retained message on its way to a new subscription.
type retainedDelivery struct {
	message *packet.Message
	ids     []uint32
}

// sendRetained sends the retained messages that match a new subscription, with RETAIN set [MQTT5-3.3.1-9]
// [MQTT311-3.3.1-6] [MQTT311-3.3.1-8]. However many they are, they leave as fast as the client reads.
func (b *Broker) sendRetained(t *turn, sub *subscriber) {
	s := sub.session
	var ids []uint32
	if sub.asked.ID != 0 {
		ids = []uint32{sub.asked.ID}
	}
	var backlog []retainedDelivery
	b.retained.tree.Match(sub.filter, func(name string, m *packet.Message) bool {
		qos := min(m.QoS, sub.asked.QoS)
		switch {
		case m.Expired(t.now), sub.asked.NoLocal && m.Publisher == s.id, !b.mayReceive(sub, name):
		case qos == 0:
			backlog = append(backlog, retainedDelivery{message: m, ids: ids})
		default:
			b.queueRetained(t, s, session.Delivery{Message: m, SubscriptionIDs: ids, QoS: qos, Retain: true})
		}
		return true
	})
	if len(backlog) > 0 {
		s.mu.Lock()
		s.retained = append(s.retained, backlog...)
		s.pumpLocked(t)
		s.mu.Unlock()
	}
}

// queueRetained delivers a retained message with QoS 1 or 2.
func (b *Broker) queueRetained(t *turn, s *liveSession, d session.Delivery) {
	r := newRouting(b, d.Message)
	if reason := r.hand(t, s, d); reason != "" {
		t.drop(s.id, d.Message, reason)
	}
	r.finish(t)
}

// expiryHeap orders messages by the time they expire, for container/heap.
type expiryHeap []*packet.Message

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].Expires < h[j].Expires }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *expiryHeap) Push(m any) { *h = append(*h, m.(*packet.Message)) }

// Pop implements heap.Interface.
func (h *expiryHeap) Pop() any {
	old := *h
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return m
}
