package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
)

// A remote is one connection to another broker, of any version. Its methods are safe for concurrent use; those that send wait only
// for room in the connection.
type remote interface {
	// publish sends a PUBLISH with the identifier and the DUP flag that it is given.
	publish(o *packet.Outgoing) error
	// answer sends PUBACK, PUBREC, PUBREL or PUBCOMP.
	answer(t packet.Type, id uint16) error
	// subscribe returns a code for each filter, in their order.
	subscribe(ctx context.Context, filters []subscription) ([]packet.Code, error)
	// unsubscribe gives filters up.
	unsubscribe(ctx context.Context, filters []string) error
	// terms are what the other broker said of itself in CONNACK.
	terms() terms
	// close takes leave if it can, and returns when nothing of the remote runs any more.
	close()
}

// A peer is told what a remote receives. Its methods may be called concurrently for messages of QoS 0, else one after the other. They
// may block, and then nothing more is read.
type peer interface {
	// acknowledged tells of PUBACK, PUBREC or PUBCOMP.
	acknowledged(t packet.Type, id uint16, code packet.Code)
	// released tells of PUBREL.
	released(id uint16)
	// arrived tells of a message. It may be kept.
	arrived(m *incoming)
	// lost tells once that the connection is over, and why. Not after close.
	lost(err error)
}

// An incoming is a message from the other broker.
type incoming struct {
	packet.Message
	id    uint16
	dup   bool
	large bool // more than this broker takes: the payload was not read
}

// A subscription is one filter to ask the other broker for.
type subscription struct {
	filter string
	qos    byte
}

// Terms are what another broker allows.
type terms struct {
	version        packet.Version
	sessionPresent bool
	receiveMaximum int    // unacknowledged messages at once
	packetMax      uint32 // bytes of one packet; 0 is no limit
	qosMax         byte
	retain         bool // it takes retained messages
}

// Options are what a remote is opened with.
type options struct {
	target     target
	version    packet.Version
	clientID   string
	username   string
	password   string
	keepAlive  uint16
	clean      bool   // forget what the other broker has of us
	durable    bool   // it is to keep it from now on
	bridgeBit  bool   // MQTT 3.1.1
	broker     string // our identity, for PropertyBridge
	stateTopic string // of the will
	packetMax  uint32 // that this broker takes
	window     uint16 // messages that we take at once without having acknowledged them
	spareID    uint16 // a packet identifier that is not in use
	timeout    time.Duration
}

// The states of a bridge at its state topic.
const (
	stateConnected    = "connected"
	stateDisconnected = "disconnected"
)

// stateQoS is that of the messages at the state topic.
const stateQoS = 1

// errVersion tells that the other broker does not speak the version.
var errVersion = errors.New("the other broker refuses the protocol version")

var errClosed = errors.New("the other side closed the connection")

// A refusal is another broker's answer that it does not want something.
type refusal struct {
	operation string
	code      packet.Code
	reason    string
}

// Error implements error.
func (r *refusal) Error() string {
	text := fmt.Sprintf("%s: refused: %s (0x%02x)", r.operation, r.code, byte(r.code))
	if r.reason != "" {
		text += ": " + r.reason
	}
	return text
}

// open connects to another broker.
func open(ctx context.Context, o *options, p peer) (remote, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	socket, err := o.target.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", o.target.name, err)
	}
	s := newStream(socket, o.timeout)
	if o.version == packet.V5 {
		return open5(ctx, o, s, p)
	}
	return open3(ctx, o, s, p)
}

// outgoingWill is the message that the other broker publishes when the connection breaks.
func (o *options) hasWill() bool { return o.stateTopic != "" }
