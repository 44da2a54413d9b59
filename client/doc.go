// Package client is what "penstock pub" and "penstock sub" do: publish payloads to a broker, and subscribe to
// topics and hand over what arrives, with MQTT 3.1, 3.1.1 or 5 over TCP, TLS, WebSocket or a Unix socket.
//
// It is a client of any broker and knows nothing of this one. The protocol
// is spoken by Eclipse Paho's libraries (paho.golang for MQTT 5, paho.mqtt.golang for
// the others); what this package adds is one face for both, a window for
// publications in order, acknowledging only what was taken, and telling refusals that are final from
// failures that are worth another try. It parses no command line and prints nothing itself.
//
// Its nouns are the Options (how to connect), the Message (what is published or received), the Source
// (where payloads come from) and the Format (how a message is printed). It is tested against a foreign broker
// in the same process, in every version.
package client
