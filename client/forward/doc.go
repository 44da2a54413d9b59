// Package forward sends messages to HTTP endpoints, and settles each by the answer: taken, tried again, or refused.
//
// What is worth another try is tried again here for a while, with growing pauses, and then returned to the channel it
// came from, which knows how often that may happen. What the endpoint does not want is returned at once. Where no channel takes
// a message back, trying goes on until the endpoint takes it. It does not connect to a broker: deliveries come from package client.
//
// Its nouns are the Forwarder (with its workers), the target (an endpoint, and how it fares), the outcome (what an answer
// means for a message) and the tally (what became of them). It is tested against servers with scripted failures, and with a
// faked clock where pauses matter.
package forward
