package packet

// A Message is one application message: what a PUBLISH or a will carries, without
// what belongs to one hop of its way (packet identifier, DUP, topic alias).
//
// A Message is shared by every receiver and never changes once it was handed to
// the broker; to change one, copy the struct and replace fields.
type Message struct {
	Topic   string // a valid topic name, never a filter and never an alias
	Payload []byte
	// Properties are the encoded MQTT 5 properties that a server must forward
	// unaltered: payload format indicator, content type, response topic,
	// correlation data and user properties, in their original order, without the
	// length in front [MQTT5-3.3.2-4] [MQTT5-3.3.2-15] [MQTT5-3.3.2-16] [MQTT5-3.3.2-17]
	// [MQTT5-3.3.2-18] [MQTT5-3.3.2-20]. They were checked when decoded.
	Properties []byte
	Publisher  string // client identifier of the publisher, empty for the broker itself
	Received   int64  // Unix time in nanoseconds at which the broker took it
	Expires    int64  // Unix time in nanoseconds after which it is not delivered; 0 is never
	QoS        byte   // as published: 0, 1 or 2
	Retain     bool   // as published
}

// Size is what the message counts for in limits: topic, payload and properties, in bytes.
func (m *Message) Size() int { return len(m.Topic) + len(m.Payload) + len(m.Properties) }

// Expired reports whether the message must not be delivered any more at the time
// now, Unix nanoseconds [MQTT5-3.3.2-5].
func (m *Message) Expired(now int64) bool { return m.Expires != 0 && now >= m.Expires }
