// Package bridge moves messages between this broker and others.
//
// A link keeps one connection to another broker, of any make. What goes out lies in a durable queue of the hook until
// the other broker has acknowledged it; what comes in is acknowledged once this broker's log has it. Neither end can be restarted
// or cut off in a way that loses a message, reorders one, or delivers one of QoS 2 twice.
//
// CONNECT, keep-alive, SUBSCRIBE and what arrives are the business of Eclipse Paho's clients (paho.golang for MQTT 5,
// paho.mqtt.golang for 3.1.1). The exchanges of QoS 1 and 2 are not: packet identifiers come from the numbers of the queue, and each
// step that must survive a crash is on disk before the packet that tells of it leaves, which neither client can be asked for.
//
// Its nouns are the Hook (all bridges of a broker), the link (one of them), the remote (one connection), the window (what is on its
// way), the rules (which topics move, and what they are called there) and the trace (where a message began and what it
// came through, so that it arrives once whatever the graph).
//
// It is tested against a double of the broker and mochi's server in this package; as a whole in test/bridge, against mosquitto, in
// graphs, and between network namespaces whose links are cut.
package bridge
