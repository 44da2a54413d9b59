// Package listener accepts network connections and hands them on: TCP, TLS, Unix sockets and
// WebSocket, each with the PROXY protocol in front if asked for.
//
// It does everything that comes before the first MQTT byte (PROXY header, TLS handshake,
// WebSocket upgrade) within one bound of time, and nothing after it. It knows no MQTT beyond the WebSocket
// subprotocol, and does not import the broker.
//
// Its nouns are the Listener, one address that accepts; the Peer, what is known of who connected; and, inside,
// the arrival, a connection between accept and hand-over. It is tested over real
// sockets with certificates made in the test, and its waiting over fake ones with fake time.
package listener
