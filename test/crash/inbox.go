package crash

import (
	"bytes"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/broker/packet"
)

// An inbox is a subscriber's own state of its session: what it owes the broker, and what the broker owes it.
type inbox struct {
	received map[uint16]bool // QoS 2 identifiers between PUBLISH and PUBREL
	owed     []debt          // received and not acknowledged, in order
	expected []debt          // of these, what the broker must send again first, in order [MQTT5-4.4.0-1]
	byID     map[uint16]arrival
}

// A debt is a message that came on a connection and was not acknowledged there.
type debt struct {
	arrival
	since moment // when that connection was asked for
}

// An arrival is a message under its packet identifier.
type arrival struct {
	id      uint16
	qos     byte
	stream  int
	counter int
}

// resumed is called when a connection begins: what the subscriber had not acknowledged is sent again.
func (b *inbox) resumed() {
	b.expected = append(b.owed, b.expected...)
	b.owed = nil
	if b.received == nil {
		b.received, b.byID = map[uint16]bool{}, map[uint16]arrival{}
	}
}

// receive takes a PUBLISH.
func (s *subscriber) receive(in packets.Packet) error {
	if in.TopicName == endTopic {
		s.seenEnd, s.endSeen = true, time.Now()
		return s.link.write(encodeAck(packet.PUBACK, s.version, in.PacketID))
	}
	a := arrival{id: in.PacketID, qos: in.FixedHeader.Qos}
	identified := s.identify(in, &a)
	s.checkResend(a, in.FixedHeader.Dup, in.FixedHeader.Retain)
	repeat := a.qos == 2 && s.inbox.received[a.id]
	s.inbox.byID[a.id] = a
	if identified {
		s.session.receipts = append(s.session.receipts, receipt{
			stream: a.stream, counter: a.counter, link: s.links, start: s.r.incarnation.Load(), id: a.id, qos: a.qos,
			dup: in.FixedHeader.Dup, retain: in.FixedHeader.Retain, repeat: repeat,
		})
		s.r.counts.received.Add(1)
	}
	switch a.qos {
	case 0:
		s.r.report(kindQoS, "%s: %s came with QoS 0", s.id, in.TopicName)
		return nil
	case 2:
		s.inbox.received[a.id] = true
	}
	s.inbox.owed = append(s.inbox.owed, debt{a, s.since})
	return s.pay()
}

// identify finds the message by its payload. A deleted retained message has none.
func (s *subscriber) identify(in packets.Packet, a *arrival) bool {
	if len(in.Payload) == 0 {
		a.stream = -1 - len(in.TopicName)
		return false
	}
	var err error
	if a.stream, a.counter, err = parsePayload(in.Payload); err != nil || a.stream >= len(s.r.streams) {
		s.r.report(kindCorrupt, "%s: %s: payload %.40q", s.id, in.TopicName, in.Payload)
		return false
	}
	from := s.r.streams[a.stream]
	if from.topic != in.TopicName || !bytes.Equal(in.Payload, from.payload(a.counter)) {
		s.r.report(kindCorrupt, "%s: %s: payload %.40q of %d bytes", s.id, in.TopicName, in.Payload, len(in.Payload))
		return false
	}
	return true
}

// checkResend wants what was in flight to be sent again before anything new: in order, with its identifiers, and with DUP [MQTT5-3.3.1-1].
// In between may come what the subscriber has acknowledged, if the broker lost that.
func (s *subscriber) checkResend(a arrival, dup, retain bool) {
	expected := s.inbox.expected
	for len(expected) > 0 && (a != expected[0].arrival || !dup) && s.r.forgettable(expected[0]) {
		expected = expected[1:]
	}
	s.inbox.expected = expected
	switch {
	case len(expected) == 0:
	case a == expected[0].arrival:
		s.inbox.expected = expected[1:]
		s.r.counts.resent.Add(1)
		if !dup {
			s.r.report(kindResend, "%s: %s is sent again without DUP", s.id, s.r.name(a))
		}
	case s.inbox.byID[a.id] == a && dup:
	default:
		s.r.report(kindResend, "%s: %s (dup %v, retain %v) came while %s is to be sent again", s.id, s.r.name(a), dup, retain, s.r.name(expected[0].arrival))
		s.inbox.expected = nil
	}
}

// forgettable reports whether the broker may not know of a message that it had sent: it was killed on that connection or after
// it, and had not told the publisher that it keeps the message. Then the publisher sends it again. With QoS 2 it must know,
// because it could use the identifier for another message, which the subscriber would take for a repeat.
func (r *run) forgettable(d debt) bool {
	if d.qos == 2 || d.counter == 0 || d.stream >= len(r.streams) || r.streams[d.stream].will {
		return false
	}
	death := r.deathAfter(d.since)
	done := r.streams[d.stream].get(d.counter).done
	return death != 0 && (done == 0 || done > death)
}

// pay acknowledges everything received, in order [MQTT5-4.6.0-2] [MQTT5-4.6.0-3], unless the subscriber keeps it back.
func (s *subscriber) pay() error {
	if len(s.inbox.owed) == 0 || s.holding && !s.r.isDraining() {
		return nil
	}
	var b []byte
	for _, a := range s.inbox.owed {
		kind := packet.PUBACK
		if a.qos == 2 {
			kind = packet.PUBREC
		}
		b = append(b, encodeAck(kind, s.version, a.id)...)
	}
	s.inbox.owed = nil
	return s.link.write(b)
}
