package broker

import (
	"fmt"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/session"
	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// A loader makes sessions and retained messages of what a store holds, as storage.Visitor.
type loader struct {
	b        *Broker
	now      time.Time
	sessions []*storage.Session
	// ended are sessions whose client has a newer one: the broker stopped before it had handed their messages
	// over.
	ended map[string]*liveSession
	// connected are the keys of sessions whose clients were connected when the broker ended without a word.
	connected []string
}

// load reads the store. Nothing else runs yet.
func (b *Broker) load() (*loader, error) {
	l := &loader{b: b, now: time.Now(), ended: make(map[string]*liveSession)}
	if err := b.store.Load(l); err != nil {
		return nil, err
	}
	return l, l.skip()
}

// goOn sets the clocks of the loaded sessions going. The hooks have started: they hear at once of sessions
// that ended while the broker was away.
func (l *loader) goOn() {
	for _, rec := range l.sessions {
		l.wait(rec)
	}
	for _, s := range l.ended {
		s.ended = true
		if changes := l.b.discard(s); changes != nil {
			l.b.update(nil, changes...)
		}
	}
}

// Session implements storage.Visitor.
func (l *loader) Session(rec storage.Session) error {
	if rec.Hook != "" {
		l.b.queues.add(newHookQueue(l.b, rec.Hook, rec.ClientID, rec.ID))
		return nil
	}
	s := &liveSession{
		b: l.b, id: rec.ClientID, key: rec.ID, durable: true,
		expiry: rec.ExpiryInterval, will: rec.Will,
	}
	s.out.MaxAge = int64(l.b.limits.MaxQueueAge)
	s.client.Store(&hooks.Client{
		ID: rec.ClientID, Username: rec.Username, Groups: rec.Groups, CommonName: rec.CommonName, Version: rec.Version,
		SessionExpiry: rec.ExpiryInterval,
	})
	if other := l.b.sessions.byID[s.id]; other != nil && other.key > s.key { // keys count up
		l.ended[s.key] = s
		return nil
	} else if other != nil {
		l.ended[other.key] = other
	}
	l.b.sessions.addLocked(s)
	l.sessions = append(l.sessions, &rec)
	if rec.Disconnected == 0 {
		l.connected = append(l.connected, rec.ID)
	}
	return nil
}

// skip leaves out the numbers of messages that clients may have had early, before the crash, and that are not written: an
// acknowledgement of one of them that comes now must not be taken for that of another message.
func (l *loader) skip() error {
	if l.b.batcher == nil || len(l.connected) == 0 {
		return nil
	}
	stored := make(chan error, 1)
	pending, err := l.b.batcher.Skip(l.connected, storage.SkipAfterCrash, waiter(func(err error) { stored <- err }))
	if pending {
		err = <-stored
	}
	if err != nil {
		return fmt.Errorf("skip numbers: %w", err)
	}
	for _, key := range l.connected {
		if s := l.b.sessions.byKey[key]; s != nil {
			s.backlog.next += storage.SkipAfterCrash
			if s.backlog.deliveries == 0 {
				s.out.Skip(s.backlog.next)
			}
		}
	}
	return nil
}

func (l *loader) find(key string) (*liveSession, error) {
	if s := l.b.sessions.byKey[key]; s != nil {
		return s, nil
	}
	if s := l.ended[key]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("record of a session %q that is not there", key)
}

// Subscription implements storage.Visitor.
func (l *loader) Subscription(rec storage.Subscription) error {
	s, err := l.find(rec.Session)
	if err != nil {
		return err
	}
	share, filter, _, err := topic.ParseShared(rec.Filter)
	if err != nil {
		return fmt.Errorf("subscription of %q: %w", rec.Session, err)
	}
	sub := &subscriber{filter: filter, session: s, asked: hooks.Subscription{
		Filter: rec.Filter, QoS: rec.QoS, NoLocal: rec.NoLocal, RetainAsPublished: rec.RetainAsPublished,
		RetainHandling: rec.RetainHandling, ID: rec.ID,
	}}
	s.shared = s.shared || share != ""
	if l.ended[rec.Session] == nil {
		s.subs.put(sub)
		l.b.subscribe(share, sub, nil)
	}
	return nil
}

// Received implements storage.Visitor.
func (l *loader) Received(rec storage.Received) error {
	s, err := l.find(rec.Session)
	if err != nil {
		return err
	}
	s.in.Keep(rec.ID)
	return nil
}

// Queue implements storage.Visitor. What is in the queue stays in the store until the client comes.
func (l *loader) Queue(q storage.Queue) error {
	if own := l.b.queues.find(q.Session); own != nil {
		own.next, own.found = q.Next, hooks.Extent{Head: q.Head, Next: q.Next, Len: q.Len, Bytes: q.Bytes}
		return nil
	}
	s, err := l.find(q.Session)
	if err != nil {
		return err
	}
	s.out.Skip(q.Head)
	s.backlog = backlog{next: q.Next, deliveries: q.Len, bytes: q.Bytes}
	l.b.counters.queued.Add(int64(q.Len))
	l.b.counters.queuedBytes.Add(q.Bytes)
	s.noteLoadLocked()
	return nil
}

// Counters implements storage.Visitor.
func (l *loader) Counters(values map[string]uint64) error {
	l.b.counters.restore(values)
	return nil
}

// Retained implements storage.Visitor.
func (l *loader) Retained(m *packet.Message) error {
	if !m.Expired(l.now.UnixNano()) {
		l.b.retained.set(l.b, m)
	}
	return nil
}

// wait has a loaded session go on waiting for its client: its expiry and its will's delay counted on while
// the broker was away.
func (l *loader) wait(rec *storage.Session) {
	s := l.b.sessions.findKey(rec.ID)
	if s == nil { // one of ended
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	left := l.now
	if rec.Disconnected != 0 {
		left = time.Unix(0, rec.Disconnected)
	} else {
		// The broker ended without a word: what was first in the queue may have been sent.
		// Acknowledgements that were lost with it may have let out more than one window.
		s.backlog.maybeSent = min(s.backlog.next, s.out.Tail()+session.WindowMax)
	}
	s.away = left.UnixNano()
	away := l.now.Sub(left)
	s.waitLocked(time.Duration(rec.ExpiryInterval)*time.Second-away, rec.ExpiryInterval == never)
	if s.will != nil {
		s.delayWillLocked(time.Duration(s.will.DelayInterval)*time.Second - away)
	}
}
