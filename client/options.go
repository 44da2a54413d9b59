package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
)

// The protocol levels of CONNECT, by which versions are named here.
const (
	MQTT31  byte = 3
	MQTT311 byte = 4
	MQTT5   byte = 5
)

// Options say how to connect.
type Options struct {
	Endpoint  Endpoint
	Version   byte // MQTT31, MQTT311 or MQTT5
	ClientID  string
	Username  string // empty sends none
	Password  string // empty sends none
	KeepAlive uint16 // seconds, 0 is none
	Clean     bool   // clean start or clean session
	// SessionExpiry is how long the broker keeps the session, in seconds (MQTT 5).
	SessionExpiry uint32
	// ReceiveMaximum is how many messages with QoS 1 and 2 the broker may send
	// before the first is acknowledged (MQTT 5); 0 leaves it to the protocol: 65535.
	ReceiveMaximum uint16
	Will           *Will
	// User are the user properties of CONNECT (MQTT 5).
	User []packet.UserProperty
	// Timeout bounds connecting, and waiting for each acknowledgement.
	Timeout time.Duration
}

// ParseVersion reads a version as mosquitto's clients do: 31, 311 or 5, with or without mqttv in front.
func ParseVersion(text string) (byte, error) {
	switch text {
	case "31", "3.1", "mqttv31":
		return MQTT31, nil
	case "311", "3.1.1", "mqttv311":
		return MQTT311, nil
	case "5", "mqttv5":
		return MQTT5, nil
	}
	return 0, fmt.Errorf("expected 31, 311 or 5, got %q", text)
}

// Check refuses what no broker could accept.
func (o *Options) Check() error {
	switch {
	case o.ClientID == "" && !o.Clean:
		return errors.New("a session that is to be found again needs a client identifier")
	case o.Version != MQTT5 && o.Password != "" && o.Username == "":
		return errors.New("a password without a username needs MQTT 5") // [MQTT311-3.1.2-22]
	case o.Version != MQTT5 && (len(o.User) > 0 || o.SessionExpiry != 0):
		return errors.New("user properties and session expiry need MQTT 5")
	case o.Will != nil:
		return checkMessage(o.Version, &o.Will.Message)
	}
	return nil
}

func checkMessage(version byte, m *Message) error {
	p := &m.Properties
	switch {
	case m.Topic == "":
		return errors.New("a message needs a topic")
	case m.QoS > 2:
		return fmt.Errorf("expected QoS 0, 1 or 2, got %d", m.QoS)
	case version != MQTT5 && (p.PayloadFormat != nil || p.MessageExpiry != nil || p.ContentType != "" ||
		p.ResponseTopic != "" || p.CorrelationData != nil || len(p.User) > 0):
		return errors.New("properties of a message need MQTT 5")
	}
	return nil
}
