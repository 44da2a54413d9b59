package broker

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// A registry knows every session by its client identifier [MQTT5-3.1.3-2].
type registry struct {
	mu   sync.RWMutex // the first in the lock order
	byID map[string]*liveSession
	// byKey holds the durable ones.
	byKey map[string]*liveSession
}

func newRegistry() *registry {
	return &registry{byID: make(map[string]*liveSession), byKey: make(map[string]*liveSession)}
}

func (r *registry) len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.byID)
}

// find returns nil if there is no session.
func (r *registry) find(id string) *liveSession {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byID[id]
}

// all lists the sessions, in no order.
func (r *registry) all() []*liveSession {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Collect(maps.Values(r.byID))
}

// findKey returns nil if there is no durable session with this key.
func (r *registry) findKey(key string) *liveSession {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byKey[key]
}

// addLocked enters a session, in the place of an older one with the same identifier.
func (r *registry) addLocked(s *liveSession) {
	if old := r.byID[s.id]; old != nil {
		delete(r.byKey, old.key)
	}
	r.byID[s.id] = s
	if s.durable {
		r.byKey[s.key] = s
	}
}

func (r *registry) remove(s *liveSession) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removeLocked(s)
}

// removeLocked leaves a newer session with the same identifier alone.
func (r *registry) removeLocked(s *liveSession) {
	if r.byID[s.id] == s {
		delete(r.byID, s.id)
		delete(r.byKey, s.key)
	}
}

// A claim is what a new connection found in the registry.
type claim struct {
	session *liveSession
	present bool          // the session was there and goes on [MQTT5-3.2.2-2] [MQTT5-3.2.2-3]
	oldConn *conn         // connection that lost the session
	busy    *conn         // connection whose clearing up is waited for: oldConn, or one that has just left
	oldWill *storage.Will // to be published now
	ended   *liveSession  // session that a clean start, or its own end, replaced
	changed bool          // the session was another user's before
}

// claim gives a connection the session of its client identifier: the one that is there if it may be resumed
// [MQTT5-3.1.2-5] [MQTT311-3.1.2-4], else a new one [MQTT5-3.1.2-4] [MQTT5-3.1.2-6] [MQTT5-3.1.4-4].
func (r *registry) claim(t *turn, c *conn) (claim, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := c.client.ID
	old := r.byID[id]
	if old == nil && len(r.byID) >= c.b.limits.MaxSessions {
		return claim{}, packet.Refuse(packet.QuotaExceeded, "limits.max_sessions reached")
	}
	var got claim
	if old != nil {
		old.mu.Lock()
		defer old.mu.Unlock()
		// A session that ends with its connection ends with the takeover too.
		if !c.connect.CleanStart && old.expiry > 0 && !old.overdueLocked(t.now, old.expiry) {
			got.session, got.present = old, true
			got.changed = !sameUser(old.client.Load(), c.client)
			got.oldConn, got.oldWill = old.takeOverLocked(t, c)
			got.busy = cmp.Or(got.oldConn, old.left)
			old.left = nil
			return got, nil
		}
		old.ended = true
		got.ended = old
		got.oldConn = old.conn.Load()
		got.busy = cmp.Or(got.oldConn, old.left)
		if got.oldConn != nil {
			t.undone(old.releaseLocked(t))
		}
		if got.oldConn == nil || got.oldConn.sendsWill() {
			got.oldWill = old.will
		}
		old.will = nil
	}
	s := &liveSession{b: c.b, id: id, key: c.b.newSessionKey(), durable: c.sessionExpiry() > 0}
	s.backlog.next = s.out.Tail()
	s.out.MaxAge = int64(c.b.limits.MaxQueueAge)
	s.bindLocked(c)
	r.addLocked(s)
	got.session = s
	return got, nil
}

// sameUser reports whether authorizers may be expected to answer alike for two clients with one identifier.
func sameUser(a, b *hooks.Client) bool {
	return a.Username == b.Username && a.CommonName == b.CommonName && slices.Equal(a.Groups, b.Groups) &&
		a.Listener == b.Listener
}

// recheck asks the authorizers again about the session's subscriptions, like Broker.Recheck for all.
func (s *liveSession) recheck() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.subs.all() {
		sub.checkedAt.Store(0)
		s.b.index.Invalidate(sub.filter)
	}
}

// sessionExpiry is the session expiry interval in force, in seconds: what the client asked for, within the
// limit. MQTT 3.1.1 knows only sessions that end with the connection and sessions that stay.
func (c *conn) sessionExpiry() uint32 {
	p := c.connect
	asked := p.SessionExpiry
	if p.Version != packet.V5 {
		asked = 0
		if !p.CleanStart {
			asked = never
		}
	}
	return min(asked, c.b.limits.MaxSessionExpiry)
}

// attach gives the connection its session and sends CONNACK once the store has it. What the client sends on
// the new connection must not be routed before what it sent on one that is taken over: so it waits until that
// one has handled the packet it is at [MQTT5-4.6.0-5].
//
// While the store can write nothing, a client that has to wait for it is refused at once, before anything is changed: it would
// wait for room on the disk.
func (c *conn) attach(t *turn, data []byte) error {
	if s, ok := c.b.store.(storage.Staller); ok && c.needsStore() && s.Stalled() {
		return packet.Refuse(packet.QuotaExceeded, "the session cannot be stored: the disk is full")
	}
	got, err := c.b.sessions.claim(t, c)
	if err != nil {
		return err
	}
	c.b.counters.connected()
	c.waits++
	c.occupy()
	done := func(err error) {
		c.post(func(t *turn) error {
			c.waits--
			return c.attached(t, got, data, err)
		})
	}
	if got.oldConn != nil { // [MQTT5-3.1.4-3] [MQTT311-3.1.4-2]
		got.oldConn.end(t, packet.SessionTakenOver, "another connection took the session", "session taken over")
	}
	if got.busy == nil {
		c.b.settleClaim(t, c, got, done)
		c.rest()
		return nil
	}
	got.busy.whenRested(func() {
		t := c.b.begin()
		defer t.end()
		c.b.settleClaim(t, c, got, done)
		c.rest()
	})
	return nil
}

// settleClaim clears up after what was there before, and stores what is there now, so that a client that is
// told of a new session never meets the old one again after a crash. It does so even if the new connection
// has ended by now. done is told when the store has it.
func (b *Broker) settleClaim(t *turn, c *conn, got claim, done func(err error)) {
	got.session.tellPresence(t) // an old connection is gone
	if got.oldWill != nil {
		b.publishWill(t, got.session.client.Load(), got.oldWill)
	}
	if got.changed {
		got.session.recheck()
	}
	var changes, deletions []storage.Change
	if got.ended != nil {
		got.ended.clear(t)
		b.hooks.OnSessionEnd(c.client.ID, "replaced by a clean start")
		deletions = b.discard(got.ended)
	}
	changes = append(changes, deletions...)
	if got.session.durable {
		got.session.mu.Lock()
		if !got.session.ended { // by yet another connection
			changes = append(changes, got.session.recordLocked(0))
		}
		got.session.mu.Unlock()
	}
	if len(changes) == 0 {
		done(nil)
		return
	}
	stored := func(err error) {
		b.storeResult(false, err)
		done(err)
	}
	if pending, err := b.store.Update(changes, waiter(stored)); !pending {
		if len(deletions) > 0 && errors.Is(err, storage.ErrFull) { // for which there is always room
			b.update(nil, deletions...)
		}
		stored(err)
	}
}

// needsStore reports whether the client's session is in the store, or is to be.
func (c *conn) needsStore() bool {
	old := c.b.sessions.find(c.client.ID)
	return c.sessionExpiry() > 0 || old != nil && old.durable
}

// attached answers CONNECT when the store has the session, or has refused it.
func (c *conn) attached(t *turn, got claim, data []byte, err error) error {
	if err == nil {
		return c.accepted(t, got.present, data)
	}
	if !got.present { // the client is not told of the session, so it must not be there next time
		c.session.expireAfter(0)
	}
	code := packet.ServerUnavailable
	if errors.Is(err, storage.ErrFull) { // 3.1.1 has no other word than the same for it
		code = packet.QuotaExceeded
	}
	return packet.Refuse(code, "the session cannot be stored")
}

// A waiter is a storage.Waiter made of a function.
type waiter func(err error)

// Stored implements storage.Waiter.
func (w waiter) Stored(err error) { w(err) }
