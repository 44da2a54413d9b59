package client

import (
	"errors"

	"github.com/penstockmq/penstock/broker/packet"
)

// The operations of a refusal that are about the connection as a whole.
const (
	opConnect = "connect"
	opEnded   = "connection ended by the broker"
)

// A Refusal is a broker's no: to a connection, a publication or a subscription, or the end it made of a connection.
type Refusal struct {
	Operation string      // "connect", "publish a/b", "subscribe a/#" or "connection ended by the broker"
	Code      packet.Code // for MQTT 3.1 and 3.1.1 the code of MQTT 5 that says the same
	Reason    string      // the broker's own words, if it had any
}

// Error is what was refused and why.
func (r *Refusal) Error() string {
	text := r.Operation + ": " + r.Code.String()
	if r.Reason != "" {
		text += " (" + r.Reason + ")"
	}
	return text
}

// ofConnection reports whether it is the connection that was refused or ended.
func (r *Refusal) ofConnection() bool { return r.Operation == opConnect || r.Operation == opEnded }

// Final reports whether trying again is pointless.
func (r *Refusal) Final() bool {
	switch r.Code {
	case packet.UnspecifiedError, packet.ImplementationError, packet.ServerUnavailable, packet.ServerBusy,
		packet.ServerShuttingDown, packet.KeepAliveTimeout, packet.MessageRateTooHigh, packet.QuotaExceeded,
		packet.ConnectionRateExceeded, packet.MaximumConnectTime, packet.ReceiveMaximumExceeded:
		return false
	}
	return true
}

// errLost is the end of a connection without a word of the broker's.
var errLost = errors.New("connection lost")

// final reports whether an error of a connection that once stood rules out another try.
func final(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Final()
}
