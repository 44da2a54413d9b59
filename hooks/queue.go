package hooks

import "github.com/penstockmq/penstock/broker/packet"

// A Queue is a durable queue of a hook, in the same log as the queues of sessions: an acknowledged message
// that was fed to it is on disk. It numbers its messages from 1 on, in the order of the log; a message keeps its
// number until it is done with, across restarts.
//
// Its methods are safe for concurrent use and, but for Read, do not wait for the disk. Feed and Delete must not be called
// from a method of its Intake.
type Queue interface {
	// Feed has every message that matches filter offered to the queue's Intake until release is called. A message that
	// matches several filters of a queue is offered once.
	Feed(filter string) (release func(), err error)
	// Extent says what was in the queue when it was opened.
	Extent() Extent
	// Read visits the messages that are not done, from number on, in order, until visit returns false, entries were
	// visited or their size reached bytes; the first is visited whatever its size. It sees what Queued was told of, and
	// every Done before. Messages may be shared and must not be changed. It may read the disk and block.
	Read(number uint64, entries int, bytes int64, visit func(Queued) bool) error
	// Sent notes that a message was handed out at least once. A crash may lose the note.
	Sent(number uint64)
	// Done forgets a message. stored, if not nil, is called once it is on disk; without it a crash may bring the message back.
	Done(number uint64, stored func(error))
	// Move publishes m as Broker.Publish does and forgets a message of the queue, in one atomic step: after a crash either
	// both happened or neither. With an error of done, neither did.
	Move(number uint64, m *packet.Message, done func(error))
	// Relieve lets the publishers go whose messages were taken with Admission.Hold.
	Relieve()
	// Delete removes the queue with all its messages and its feeds. It must not be used afterwards.
	Delete(stored func(error))
}

// An Extent is how much was in a Queue when it was opened.
type Extent struct {
	Head  uint64 // the oldest number that is not done; Next if there is none
	Next  uint64 // the number that the next message gets
	Len   int    // messages that are not done
	Bytes int64  // their size, as Message.Size counts it
}

// A Queued is a message in a Queue.
type Queued struct {
	Number  uint64
	Message *packet.Message
	Sent    bool // handed out at least once
}

// An Intake decides what enters a Queue, and hears what did. Its methods must not block; they are called by
// publishers, and concurrently, except Queued.
type Intake interface {
	// Admit is asked before m goes to anybody. m may be kept.
	Admit(m *packet.Message) Admission
	// Queued tells that a message that was taken has its number and is as safe as storage.sync promises. It is
	// called in the order of the numbers, one at a time.
	Queued(number uint64, m *packet.Message)
	// Settled is called after Queued, once for all messages of one group commit: the time to deliver them.
	Settled(b Batch)
	// Withdrawn tells that a message that was taken was not stored: another receiver refused it for all, or the store did.
	Withdrawn(m *packet.Message)
	// Expired tells that the store dropped messages because their expiry interval passed. Numbers between those that
	// Read visits may be theirs.
	Expired(messages int, bytes int64)
}

// An Admission is what an Intake decided about a message.
type Admission struct {
	Verdict AdmissionVerdict
	// Hold, with Take, keeps the publisher's acknowledgement back until Queue.Relieve, and stops reading from a publisher who waits for none
	// or has too many outstanding: back-pressure.
	Hold bool
	// Records are written in the same atomic step, as Broker.Save does.
	Records []Record
	// Code and Reason, with Refuse, are for the publisher. Code 0 is packet.QuotaExceeded.
	Code   packet.Code
	Reason string
}

// An AdmissionVerdict is the answer inside an Admission.
type AdmissionVerdict byte

// The verdicts on a message.
const (
	// Skip: not for this queue.
	Skip AdmissionVerdict = iota
	// Take: store it. Exactly one of Intake.Queued and Intake.Withdrawn follows.
	Take
	// Duplicate: the queue took it before. The publisher's acknowledgement waits until that is on disk.
	Duplicate
	// Refuse: nobody gets it, and the publisher is told Code (MQTT 3.1.1 has none: the connection is closed for QuotaExceeded, otherwise
	// the message is acknowledged). With QoS 0 it is dropped. It is counted as DropQueueFull, with another Code as DropIntercepted.
	Refuse
)

// A Record is something that a hook keeps in the broker's store. Value nil deletes it.
type Record struct {
	Key   string // at most 1 KiB; every hook has keys of its own
	Value []byte // at most 1 MiB
}

// Members hears who subscribes to what the hook serves (Broker.Serve). Its methods must not block.
type Members interface {
	// Join is asked for each subscription, also for one that replaces another, and for those of loaded sessions when serving
	// begins. With Deny it is not made; its code is the SUBACK's. It may lower s.QoS.
	Join(c *Client, s *Subscription) Decision
	// Leave tells that the subscription is gone: by UNSUBSCRIBE, or with its session.
	Leave(clientID, filter string)
	// Online tells that the client's connection is open for deliveries; maximum is how many of QoS 1 and 2 may be in flight. A client
	// that subscribes while connected is told of after Join, for each subscription.
	Online(b Batch, clientID string, maximum uint16)
	// Offline tells that the connection is gone.
	Offline(b Batch, clientID string)
	// Room tells that a client to which Deliver failed with ErrBusy can take something again.
	Room(b Batch, clientID string)
}
