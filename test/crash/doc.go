// Package crash ends a broker at random moments while clients use it, starts it again on the same
// folder, and checks afterwards that it kept every promise of an acknowledgement.
//
// Its clients are written for this: each does what the specification asks of a client that
// keeps its session across broken connections, writes down what it was told and what it
// received, and decides nothing else. Whether that history is one of a correct broker is decided
// afterwards, by check.go, from moments of one logical clock that all clients share. It knows
// nothing of the broker's insides; of the store only what a power cut does to files.
//
// Its nouns are the run (a broker, its clients and the kills), the host (how a broker is started and
// ended: the built binary, the same under a watch on its fsyncs, or one inside the test), the
// publication and the receipt (what was sent and what arrived), the life (of one
// subscription) and the violation (a promise that was broken).
//
// Three hosts end a broker in three ways: kill -9, which loses what the process had not written;
// a power cut, which loses what was not fsynced too; and a cut inside the test, under the race detector, on the
// store in memory. The checker is tested by histories with one mistake each, and by brokers with one
// deliberate fault each that it must find.
//
// Channels have runs of their own (channel_*.go): authors publish, members join, leave, stall, refuse and forget messages, an operator
// pauses. Every number of a channel is accounted for in the end: acknowledged by a member, or a dead letter. Its nouns are the outlet (a
// channel of the run), the handout (a message as a member got it, and what he said to it) and the ledger (what is
// known of a channel in the end).
//
// Every run prints its seed and takes it back from PENSTOCK_SEED. The seed fixes what the clients do and
// when the broker is ended, not how the machine's scheduler interleaves them.
package crash
