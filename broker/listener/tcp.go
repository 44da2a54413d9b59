package listener

import (
	"context"
	"net"
)

// listenTCP listens at host:port [MQTT5-4.2.0-1]. TCP_NODELAY is on for what it accepts: the net package sets it on every connection.
func listenTCP(address string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // an event loop wants plain sockets
	return lc.Listen(context.Background(), "tcp", address)
}
