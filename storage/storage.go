// Package storage names what the broker asks of a store: the sessions, subscriptions, retained
// messages and queued messages that outlive a connection or the process.
//
// It holds the Store interface and the records that pass through it, and no
// implementation: storage/memory keeps everything in the process, and every Store passes the
// suite in storage/storagetest. Its nouns are the Store, the Queue (what one durable
// receiver still has to get) and the Waiter (who must know when something is stored).
//
// # Order and waiting
//
// All writes go into one log, in the order of the calls. A write that is on
// disk when the call returns reports pending == false. Otherwise it reports true, and the Waiter
// hears of it later, in the order of the calls, on one goroutine of the store's; after each group of
// Waiters that became ready together the function given to Notify is called once, so that the broker can
// flush each receiver once. No method blocks on the disk, except Load, Read and Close.
package storage

import (
	"errors"

	"github.com/penstockmq/penstock/broker/packet"
)

// What a Store fails with, beside errors of the disk.
var (
	ErrFull   = errors.New("store is full")   // no room; reads and deletes still work
	ErrClosed = errors.New("store is closed") // Close was called
)

// A Waiter is told once what became of a write.
type Waiter interface {
	// Stored is called with nil when the write is as safe as the store promises, or with the reason
	// why it is not. It must not block and must not call the store.
	Stored(err error)
}

// A Teller tells Waiters that all they waited for is Done. Like Stored it must not block and must not call the store.
type Teller interface {
	Tell(w Waiter)
}

// A Store keeps records. Its methods are safe for concurrent use.
type Store interface {
	// Load hands every record to v, once, before any other method is called:
	// sessions first, then their subscriptions, their queues in order, then retained messages. The records
	// of hooks may come anywhere.
	Load(v Visitor) error
	// Notify sets the function called after each group of Waiters. It is called once, before the first write.
	Notify(f func())

	// Enqueue stores a message once and appends it to every queue it is for. A session that has no record
	// gets nothing, and its Seq is 0. It sets the Seq of each before the waiter hears of it (before it
	// returns, if not pending). If received is not nil, the record that this packet identifier was received
	// (QoS 2) is written in the same atomic step; if retain is set, m also becomes the retained message of
	// its topic (or deletes it, when the payload is empty). With nobody to get it and nothing else to write, the waiter still
	// hears after those before it.
	Enqueue(e *Enqueue, w Waiter) (pending bool, err error)
	// Update writes changes, all or none. w may be nil if nobody waits.
	Update(changes []Change, w Waiter) (pending bool, err error)
	// Ack records that a queue is done with a message, or how far a QoS 2 exchange went. With a nil waiter it
	// may be lost by a crash: the message is then delivered again.
	Ack(a Ack, w Waiter) (pending bool, err error)

	// Read visits the entries of a session's queue that are not Done, from number from on, in order, until
	// visit returns false or limit is reached; the first entry is visited whatever its size. It sees every
	// write whose Waiter was told, and every Ack that was called before. It may read the disk and block.
	// Messages may be shared and must not be changed. A session without a record has an empty queue.
	Read(session string, from uint64, limit ReadLimit, visit func(e Entry, p Progress, m *packet.Message) bool) error

	// Close writes what is outstanding, tells every Waiter and releases the store. Twice is harmless.
	Close() error
}

// An Expirer is a Store that drops messages whose expiry interval has passed by itself.
type Expirer interface {
	// OnExpired sets the function that is told how many messages of a session's queue were dropped, and their
	// size. It is called once, before the first write. f must not block and must not call the store.
	OnExpired(f func(session string, messages int, bytes int64))
}

// A Batcher is a Store that takes many writes in one call, and numbers entries at once. So a message can be handed
// to who is online before it is on disk.
type Batcher interface {
	// EnqueueAll is Enqueue for several messages, in order: all are taken, or none and there is an error. Every Seq
	// is set when it returns. The Waiter is told once, when of each entry one is true: it is as safe as the store
	// promises, or it is Done. The messages and entries belong to the store until then, batch itself only during the call.
	EnqueueAll(batch []Enqueue, w Waiter) (pending bool, err error)
	// AckAll is Ack for several, and nobody waits. A Waiter of EnqueueAll whose last entry becomes Done by it may be told by w
	// instead of by Stored(nil), before it returns; Notify's function is not called then.
	AckAll(acks []Ack, w Teller) error
	// Skip leaves out the next n numbers of queues, at most 1<<16: no message will have them. After a crash the numbers of messages that were handed over and
	// not written would be given again; fewer than SkipAfterCrash were.
	Skip(sessions []string, n int, w Waiter) (pending bool, err error)
}

// A Failer is a Store that can fail while nobody waits for it.
type Failer interface {
	// OnFailure sets the function that is told once why every write fails from now on; at once if they do already. f must
	// not block and must not call the store.
	OnFailure(f func(err error))
}

// A Staller is a Store whose writes come to a halt, without failing, while the disk has no room at all.
type Staller interface {
	// Stalled reports whether they do now, so that nobody begins what would have to wait. It asks the file system for its
	// free space, which needs no disk.
	Stalled() bool
}

// SkipAfterCrash is more than the numbers of a queue that a Batcher gives without writing something of them.
const SkipAfterCrash = 16 << 10

// An Enqueue is one message for durable receivers.
type Enqueue struct {
	Message  *packet.Message
	To       []Entry
	Received *Received // nil unless the message came with QoS 2 from a durable session
	Retain   bool
	Changes  []Change // made after all this, in the same atomic step
}

// An Entry is one message in one queue.
type Entry struct {
	Session string // Session.ID of the session whose queue it is
	// Seq numbers the messages of a queue from 1 on, without gaps, in the order of the log. The packet
	// identifier of its delivery is (Seq-1) mod 65535 + 1. Set by the store.
	Seq             uint64
	QoS             byte // granted: 1 or 2
	Retain          bool // RETAIN flag of the delivery
	SubscriptionIDs []uint32
	Group           string // share name and filter ("group/filter") it came through, or empty
	// Live says that the receiver is online and gets the message at once, so that its acknowledgement may be
	// quicker than the disk. A store may give it a moment for that, and need not write what is Done by then.
	Live bool
}

// Received says that a session received a QoS 2 PUBLISH whose PUBREL has not come.
type Received struct {
	Session string
	ID      uint16
}

// A Progress says how far the delivery of a queued message came.
type Progress byte

// The steps of a delivery, in order.
const (
	Queued   Progress = iota // not acknowledged
	Sent                     // handed to a connection at least once: a resend carries DUP
	Released                 // QoS 2: PUBREC arrived, PUBREL is owed
	Done                     // acknowledged, refused, expired or dropped: forget it
)

// An Ack moves one entry of one queue on. It is a Change too, for when that must happen together with something
// else.
type Ack struct {
	Session  string
	Seq      uint64
	Progress Progress
}

// A Session is the record of a durable session.
type Session struct {
	// ID is the session's own: no other session ever has it, not even a later one of the same client. So a
	// write that comes late cannot reach the wrong one.
	ID       string
	ClientID string
	// Hook is empty for a client's session. Else the queue belongs to the hook of that name, which calls it ClientID;
	// then it has no subscriptions and never expires.
	Hook           string
	Username       string // of the last client, for receive authorization
	Groups         []string
	CommonName     string
	Version        byte
	ExpiryInterval uint32 // seconds; 0xFFFFFFFF never ends [MQTT5-3.1.2.11.2]
	// Disconnected is when the connection ended, Unix nanoseconds; 0 while connected (after a crash: take the
	// time of the start).
	Disconnected int64
	Will         *Will
}

// A Will waits in a session to be published.
type Will struct {
	Message       *packet.Message // Expires is 0; ExpiryInterval counts from publication
	DelayInterval uint32          // seconds after the connection ended
	Expiry        uint32          // message expiry interval in seconds, with HasExpiry
	HasExpiry     bool
}

// A Subscription is the record of one subscription of a durable session.
type Subscription struct {
	Session           string
	Filter            string // as subscribed, with $share/<group>/ for a shared one
	QoS               byte
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte
	ID                uint32 // subscription identifier, 0 is none
}

// A Change is one of Ack, PutSession, DeleteSession, PutSubscription, DeleteSubscription, PutRetained,
// DeleteRetained, PutReceived, DeleteReceived, PutCounters, PutHookRecord and DeleteHookRecord.
type Change interface{ change() }

// The changes that Update takes.
type (
	// PutSession writes a session's record, leaving its subscriptions and queue alone.
	PutSession struct{ Session Session }
	// DeleteSession removes a session with its subscriptions, queue and received identifiers. Unknown is
	// harmless.
	DeleteSession struct{ ID string }
	// PutSubscription writes a subscription, replacing one with the same filter.
	PutSubscription struct{ Subscription Subscription }
	// DeleteSubscription removes a subscription. Unknown is harmless.
	DeleteSubscription struct{ Session, Filter string }
	// PutRetained makes a message the retained message of its topic.
	PutRetained struct{ Message *packet.Message }
	// DeleteRetained removes the retained message of a topic. Unknown is harmless.
	DeleteRetained struct{ Topic string }
	// PutReceived records a QoS 2 packet identifier whose message no durable receiver wanted.
	PutReceived struct{ Received Received }
	// PutCounters writes counters that go on after a restart, replacing those of the same names.
	PutCounters struct{ Values map[string]uint64 }
	// DeleteReceived forgets a QoS 2 packet identifier: its PUBREL came.
	DeleteReceived struct{ Received Received }
	// PutHookRecord writes what a hook keeps under a key, replacing what was there.
	PutHookRecord struct {
		Hook, Key string
		Value     []byte
	}
	// DeleteHookRecord removes it. Unknown is harmless.
	DeleteHookRecord struct{ Hook, Key string }
)

func (Ack) change()                {}
func (PutHookRecord) change()      {}
func (DeleteHookRecord) change()   {}
func (PutSession) change()         {}
func (DeleteSession) change()      {}
func (PutSubscription) change()    {}
func (DeleteSubscription) change() {}
func (PutRetained) change()        {}
func (DeleteRetained) change()     {}
func (PutReceived) change()        {}
func (DeleteReceived) change()     {}
func (PutCounters) change()        {}

// A ReadLimit bounds one Read.
type ReadLimit struct {
	Entries int   // most entries
	Bytes   int64 // most bytes of messages, as Message.Size counts them
}

// A Queue is what a store knows of a session's queue without reading it.
type Queue struct {
	Session string
	Head    uint64 // oldest number that is not Done; Next if there is none
	Next    uint64 // number that the next message will get; 1 for a queue that never held one
	Len     int    // entries that are not Done
	Bytes   int64  // their messages' size, as Message.Size counts it
}

// A Visitor takes what Load finds. An error ends Load with it.
type Visitor interface {
	Session(s Session) error
	Subscription(s Subscription) error
	Received(r Received) error
	// Queue tells what is in a session's queue; what it holds is got with Read.
	Queue(q Queue) error
	Retained(m *packet.Message) error
	Counters(values map[string]uint64) error
	// HookRecord tells what a hook keeps. value is the Visitor's own.
	HookRecord(hook, key string, value []byte) error
}
