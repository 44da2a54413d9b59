// Package storagetest is the suite that every storage.Store must pass, and a Store for tests of
// those who wait for one.
//
// Run checks a Store against the promises written at storage.Store: order, numbering,
// atomic writes, Waiters, what Load finds after reopening. It fits stores that are done when a call
// returns as well as those that report later; it does not test crashes, full disks or speed, which are each
// store's own. Held turns any Store into one whose word comes when the test says so.
//
// Its nouns are the Fixture (a Store and a way to reopen it), the state (what Load found) and Held.
// It is tested by running it over storage/memory, bare and through Held.
package storagetest

import (
	"testing"

	"github.com/penstockmq/penstock/storage"
)

// A Fixture is an empty Store under test.
type Fixture struct {
	// Store is new: Load was not called.
	Store storage.Store
	// Reopen returns a Store with the records of the last one, which was closed.
	Reopen func(t *testing.T) storage.Store
}

// Run runs the suite. open is called for each test and registers what it needs cleaned up;
// the suite closes the stores itself.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	tests := []struct {
		name string
		run  func(*subject)
	}{
		{"an empty store loads nothing", testEmpty},
		{"session records are replaced whole and keep what belongs to them", testPutSession},
		{"deleting a session removes all that belongs to it and restarts its numbers", testDeleteSession},
		{"deleting and acknowledging what is unknown is harmless", testUnknown},
		{"subscriptions are replaced by filter", testSubscriptions},
		{"received identifiers come and go", testReceived},
		{"retained messages are replaced and deleted by topic", testRetained},
		{"counters are replaced by name", testCounters},
		{"a queue is numbered from 1 without gaps", testNumbers},
		{"numbering goes on after reopening, though the queue is empty", testNextSeq},
		{"messages and entries come back as they were written", testContent},
		{"Read visits what is not done, in order and within its limit", testRead},
		{"Read stops when its visitor has enough", testReadStops},
		{"Read sees every write whose waiter was told", testReadFollowsWrites},
		{"Read beside writers keeps the order", testConcurrentRead},
		{"progress is kept and never goes back", testProgress},
		{"acknowledging out of order removes just that message", testOutOfOrder},
		{"Enqueue writes message, received identifier and retained message together", testAtomicEnqueue},
		{"a batch is numbered at once", testBatch},
		{"what is acknowledged before it is written never comes back", testBatchDoneEarly},
		{"numbers that are skipped are nobody's", testSkip},
		{"a message for a session without a record leaves nothing behind", testNoSession},
		{"hook records are replaced by hook and key, whatever their size", testHookRecords},
		{"a queue of a hook is a queue", testHookQueue},
		{"Update makes Acks together with what else it writes", testAckInUpdate},
		{"Enqueue makes changes together with the message", testEnqueueChanges},
		{"changes of an Enqueue that is for nobody are made", testEnqueueChangesForNobody},
		{"a write larger than any other is there whole", testLargeWrite},
		{"the waiter of an Enqueue of nothing hears in its turn", testEnqueueNothing},
		{"Load stops with the visitor's error", testVisitorError},
		{"Load gives sessions, then subscriptions, then queues, then retained messages", testLoadOrder},
		{"waiters hear once, in the order of the calls", testWaiters},
		{"Notify follows the waiters it speaks for", testNotify},
		{"Close tells every waiter", testCloseTellsWaiters},
		{"after Close everything fails with ErrClosed, and closing again is harmless", testClosed},
		{"concurrent writers each keep their order", testConcurrent},
		{"random operations agree with a model", testModel},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(start(t, open(t))) })
	}
}
