package packet

import "bytes"

// A Subscription is one topic filter of a SUBSCRIBE packet with its options.
type Subscription struct {
	Filter            string // as sent, a UTF-8 string and not empty; its syntax is not checked here
	QoS               byte
	NoLocal           bool // false in MQTT 3.1 and 3.1.1, as are the two below
	RetainAsPublished bool
	RetainHandling    byte
}

// A Subscribe is a SUBSCRIBE packet.
type Subscribe struct {
	ID             uint16
	SubscriptionID uint32 // 0 is none
	Subscriptions  []Subscription
	User           []UserProperty
}

// The bits of the subscription options (MQTT 5, 3.8.3.1).
const (
	optionQoS               = 0b00000011
	optionNoLocal           = 0b00000100
	optionRetainAsPublished = 0b00001000
	optionReserved          = 0b11000000
)

var sharePrefix = []byte("$share/")

// DecodeSubscribe reads the body of a SUBSCRIBE packet. What it returns shares nothing with body.
func DecodeSubscribe(body []byte, v Version, l Limits) (*Subscribe, error) {
	r := cursor{rest: body}
	s := &Subscribe{ID: r.packetID(SUBSCRIBE)}
	if v == V5 {
		s.readProperties(&r, l)
	}
	if r.err == nil && len(r.rest) == 0 {
		r.fail(ProtocolError, "SUBSCRIBE: no topic filter") // [MQTT5-3.8.3-2] [MQTT311-3.8.3-3]
	}
	for len(r.rest) > 0 {
		s.Subscriptions = append(s.Subscriptions, readSubscription(&r, v))
	}
	if r.err != nil {
		return nil, r.err
	}
	return s, nil
}

func (s *Subscribe) readProperties(r *cursor, l Limits) {
	p := r.properties(subscribeProperties, l)
	for p.next() {
		switch p.id {
		case propSubscriptionID:
			s.SubscriptionID = p.number
		case propUser:
			s.User = append(s.User, UserProperty{string(p.key), string(p.value)})
		}
	}
	r.adopt(&p)
}

func readSubscription(r *cursor, v Version) Subscription {
	filter := r.filter()
	options := r.byte("subscription options")
	if r.err != nil {
		return Subscription{}
	}
	if v != V5 {
		if options > 2 {
			r.fail(MalformedPacket, "SUBSCRIBE: QoS over 2 or reserved bits set") // [MQTT311-3-8.3-4]
		}
		return Subscription{Filter: string(filter), QoS: options}
	}
	s := Subscription{
		Filter: string(filter), QoS: options & optionQoS,
		NoLocal:           options&optionNoLocal != 0,
		RetainAsPublished: options&optionRetainAsPublished != 0,
		RetainHandling:    options >> 4 & 3,
	}
	switch {
	case options&optionReserved != 0:
		r.fail(MalformedPacket, "SUBSCRIBE: reserved option bits set") // [MQTT5-3.8.3-5]
	case s.QoS == 3:
		r.fail(ProtocolError, "SUBSCRIBE: QoS 3") // MQTT 5, 3.8.3.1
	case s.RetainHandling == 3:
		r.fail(ProtocolError, "SUBSCRIBE: retain handling 3") // MQTT 5, 3.8.3.1
	case s.NoLocal && bytes.HasPrefix(filter, sharePrefix):
		r.fail(ProtocolError, "SUBSCRIBE: no local on a shared subscription") // [MQTT5-3.8.3-4]
	}
	return s
}

// filter reads a topic filter [MQTT5-3.8.3-1] [MQTT5-3.10.3-1] [MQTT311-3.8.3-1] [MQTT311-3.10.3-1]. One
// that is empty is refused here, with the whole packet: it is no filter at all [MQTT5-4.7.3-1] [MQTT311-4.7.3-1].
func (c *cursor) filter() []byte {
	b := c.text("topic filter")
	if len(b) == 0 {
		c.fail(MalformedPacket, "topic filter: empty")
	}
	return b
}
