// Package bench measures an MQTT broker from outside: what a delivery costs it in
// processor time, what a connection costs it in memory, and how long a message takes.
//
// One thread serves all clients from one epoll loop, with hand-made packets for MQTT 3.1.1 and 5 and a
// scanner that reads no more of an answer than must be counted, so that the generator takes
// less of a shared machine than any broker, as far as messages come in bursts. Throughput is measured in a closed loop: a publisher
// has no more than a window of messages on their way, at QoS 0 too, where what counts is their arrival at
// the subscribers, so nothing is measured while a broker drops. Latency is measured
// in an open loop from the time at which a message was due, not sent. What a broker stores is measured by letting a backlog grow for
// sessions that are away and reading it, with loss and order checked exactly, and beside a plain file with fdatasync. It is no client
// library: it does not resend or keep alive. Measuring runs on Linux only.
//
// Its nouns are the scenario (who publishes to whom: a plan), the client (one connection's protocol, handed bytes and
// appending frames), the traffic (windows, order and counts of all of them), the loop (the sockets) and the
// Result. Compare starts brokers in turn, two of a kind for a bridge, and puts their Results side by side; what Go's collector does to
// clients it measures beside the same broker without one. Packets are tested against
// another codec, clients and traffic without sockets, and whole runs against a broker in the test's process.
package bench
