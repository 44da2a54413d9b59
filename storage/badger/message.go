package badger

import (
	"encoding/binary"

	"github.com/penstockmq/penstock/broker/packet"
)

// The bits of a message's first byte; the lowest two are its QoS.
const (
	messageQoS    = 3
	messageRetain = 1 << 2
)

// appendMessage writes everything of a message but its expiry, which stands where it is read without the message.
func appendMessage(b []byte, m *packet.Message) []byte {
	flags := m.QoS & messageQoS
	if m.Retain {
		flags |= messageRetain
	}
	b = append(b, flags)
	b = appendText(b, m.Topic)
	b = appendText(b, m.Publisher)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.Received))
	b = appendBytes(b, m.Properties)
	return append(b, m.Payload...)
}

// names remembers the last topic and publisher read, which are often those of the next message too.
type names struct{ topic, publisher string }

func same(last *string, b []byte) string {
	if *last != string(b) {
		*last = string(b)
	}
	return *last
}

// decodeMessage reads what appendMessage wrote. The message shares nothing with b.
func (n *names) decodeMessage(b []byte) (*packet.Message, error) {
	c := cursor{rest: b}
	flags := c.byte()
	topic, publisher := c.bytes(), c.bytes()
	received := c.uint64()
	properties := c.bytes()
	if c.bad || flags&^(messageQoS|messageRetain) != 0 {
		return nil, errMalformed
	}
	m := &packet.Message{
		Topic: same(&n.topic, topic), Publisher: same(&n.publisher, publisher), Received: int64(received),
		QoS: flags & messageQoS, Retain: flags&messageRetain != 0,
	}
	data := append(append(make([]byte, 0, len(properties)+len(c.rest)), properties...), c.rest...)
	if p := len(properties); p > 0 {
		m.Properties = data[:p:p]
	}
	if len(c.rest) > 0 {
		m.Payload = data[len(properties):]
	}
	return m, nil
}

// appendRetained writes a message with its expiry.
func appendRetained(b []byte, m *packet.Message) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(m.Expires))
	return appendMessage(b, m)
}

func (n *names) decodeRetained(b []byte) (*packet.Message, error) {
	c := cursor{rest: b}
	expires := c.uint64()
	if c.bad {
		return nil, errMalformed
	}
	m, err := n.decodeMessage(c.rest)
	if err != nil {
		return nil, err
	}
	m.Expires = int64(expires)
	return m, nil
}
