package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// Dial connects to the endpoint. A write that takes longer than patience ends the connection.
func (e *Endpoint) Dial(ctx context.Context, patience time.Duration) (net.Conn, error) {
	conn, err := e.dialBare(ctx)
	if err != nil {
		return nil, err
	}
	return &lingering{Conn: conn, patience: patience}, nil
}

func (e *Endpoint) dialBare(ctx context.Context) (net.Conn, error) {
	switch e.Scheme {
	case "unix":
		return (&net.Dialer{}).DialContext(ctx, "unix", e.Address)
	case "mqtts":
		return (&tls.Dialer{Config: e.TLS}).DialContext(ctx, "tcp", e.Address)
	case "ws", "wss":
		return e.dialWebSocket(ctx)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", e.Address)
}

func (e *Endpoint) dialWebSocket(ctx context.Context) (net.Conn, error) {
	d := websocket.Dialer{
		Proxy:           http.ProxyFromEnvironment,
		TLSClientConfig: e.TLS,
		Subprotocols:    []string{"mqtt"}, // [MQTT5-6.0.0-3]
	}
	target := e.Scheme + "://" + e.Address + e.Path
	ws, answer, err := d.DialContext(ctx, target, nil)
	if err != nil {
		if answer != nil {
			return nil, fmt.Errorf("%s answered %s", target, answer.Status)
		}
		return nil, err
	}
	return &webSocket{Conn: ws.NetConn(), ws: ws}, nil
}
