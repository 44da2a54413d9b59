package client

import (
	"strconv"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
)

// A Delivery is a received message that somebody works on and settles afterwards: with Ack, Refuse or Leave,
// from any goroutine. Only the first of them counts. A message with QoS 0 may be settled or not, it makes no difference.
type Delivery struct {
	Message
	Received time.Time

	receipt receipt
	ledger  *ledger
	state   deliveryState // guarded by ledger.mu
	refusal *refusal      // the same
}

type deliveryState byte

const (
	deliveryOpen deliveryState = iota
	deliverySettled
	deliveryLeft // stays unacknowledged
)

// A refusal is a negative acknowledgement.
type refusal struct {
	code   packet.Code
	reason string
	user   []packet.UserProperty
}

// NewDelivery makes a delivery that no broker sent. What becomes of it is told to settled: nil for Ack, a
// *Refusal for Refuse. A delivery that is left is not told of.
func NewDelivery(m *Message, received time.Time, settled func(error)) *Delivery {
	d := &Delivery{Message: *m, Received: received}
	d.ledger = newLedger(false, func([]settlement) {
		if d.refusal == nil {
			settled(nil)
			return
		}
		settled(&Refusal{Operation: "deliver " + d.Topic, Code: d.refusal.code, Reason: d.refusal.reason})
	})
	d.ledger.add(d)
	return d
}

// Ack acknowledges: the broker may forget the message.
func (d *Delivery) Ack() { d.ledger.settle(deliverySettled, nil, d) }

// AckAll acknowledges deliveries in one go, which costs one write for those of one connection.
func AckAll(deliveries []*Delivery) {
	for len(deliveries) > 0 {
		of := deliveries[0].ledger
		n := 1
		for n < len(deliveries) && deliveries[n].ledger == of {
			n++
		}
		of.settle(deliverySettled, nil, deliveries[:n]...)
		deliveries = deliveries[n:]
	}
}

// Refuse returns the message to the broker, with a reason and, if after is not 0, the wish not to have it again
// before that: the user property retry-after, in seconds, such as 2.5. A channel delivers it again then; elsewhere a broker
// discards it [MQTT5-4.8.2-6]. Before MQTT 5 nothing can be refused, and Refuse is the same as Leave.
func (d *Delivery) Refuse(code packet.Code, reason string, after time.Duration) {
	r := &refusal{code: code, reason: reason}
	if after > 0 {
		seconds := after.Round(time.Millisecond).Seconds()
		r.user = []packet.UserProperty{{Key: "retry-after", Value: strconv.FormatFloat(seconds, 'f', -1, 64)}}
	}
	d.ledger.settle(deliverySettled, r, d)
}

// Leave leaves the message unacknowledged: a channel takes it back after its ack_timeout, any other
// subscription keeps it in flight until the connection ends.
func (d *Delivery) Leave() { d.ledger.settle(deliveryLeft, nil, d) }

// Void reports that there is no use in working on the message: its connection is
// gone, and the broker is going to deliver it again.
func (d *Delivery) Void() bool { return d.QoS > 0 && d.ledger.void() }
