// Package session is the state machine of one MQTT session's QoS 1 and QoS 2 exchanges, both ways.
//
// Events go in (a message to deliver, an acknowledgement, a reconnect), what to do comes out; there is no
// I/O, lock, goroutine or clock in it, so its caller decides when and under which lock it runs. Its nouns are
// the Outbound (messages towards the client: the queue, the in-flight window, resending) and the Inbound
// (messages from the client: what was received and what is still to be acknowledged).
//
// # Packet identifiers
//
// Messages towards the client are numbered from 1 on; the packet identifier of number n is (n-1) mod 65535 + 1,
// and no message is sent whose number is 65534 or more above the oldest unacknowledged one. So an identifier
// survives a restart without being stored, and every lookup is an index into a ring.
//
// It is tested by tables named after the statements, and against a simple model by random operations and by
// fuzzing.
package session
