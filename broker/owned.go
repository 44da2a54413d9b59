package broker

import "github.com/penstockmq/penstock/broker/packet"

// The allocator's sizes that a message of few bytes fills: one allocation holds it and its bytes.
type (
	owned144 struct {
		message packet.Message
		bytes   [40]byte
	}
	owned192 struct {
		message packet.Message
		bytes   [88]byte
	}
	owned256 struct {
		message packet.Message
		bytes   [152]byte
	}
	owned512 struct {
		message packet.Message
		bytes   [408]byte
	}
)

// ownMessage copies a message whose payload and properties belong to a read buffer. Its topic is a plan's.
func ownMessage(m *packet.Message) *packet.Message {
	own, b := newMessage(len(m.Payload) + len(m.Properties))
	copyMessage(own, m, b)
	return own
}

// copyMessage makes own a message like m, with its bytes in b, which has room for them.
func copyMessage(own, m *packet.Message, b []byte) {
	*own = *m
	n := copy(b, m.Payload)
	end := n + copy(b[n:], m.Properties)
	own.Payload = b[:n:n]
	own.Properties = b[n:end:end]
}

// newMessage makes a message and n bytes for it.
func newMessage(n int) (*packet.Message, []byte) {
	switch {
	case n <= len(owned144{}.bytes):
		o := new(owned144)
		return &o.message, o.bytes[:n:n]
	case n <= len(owned192{}.bytes):
		o := new(owned192)
		return &o.message, o.bytes[:n:n]
	case n <= len(owned256{}.bytes):
		o := new(owned256)
		return &o.message, o.bytes[:n:n]
	case n <= len(owned512{}.bytes):
		o := new(owned512)
		return &o.message, o.bytes[:n:n]
	}
	return new(packet.Message), make([]byte, n)
}
