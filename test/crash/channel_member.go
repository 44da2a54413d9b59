package crash

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/broker/packet"
)

// A member takes messages from a channel over many connections. It acknowledges most, at once or late, refuses some, forgets some
// until its connection ends, stalls, leaves the channel and joins again. When the run drains it does what it should.
type member struct {
	*client
	outlet     *outlet
	filter     string
	qos        byte
	volatile   bool   // each connection is a session of its own
	receiveMax uint16 // MQTT 5; 0 is not sent

	handouts []*handout

	// Of the connection, or the session.
	linked   moment
	joined   existence
	leaving  bool
	open     []*handout // that count against the receive maximum
	unpinged []*handout // answered, not confirmed
	pinged   []*handout // answered before the PINGREQ that is out
}

// What a member does of its own accord, in parts of all messages or of all actions.
const (
	memberBreaks  = 0.02
	memberStalls  = 0.01
	memberLeaves  = 0.01
	memberPings   = 0.2
	memberRefuses = 0.08
	memberIsLate  = 0.03
	memberForgets = 0.01

	stallMax      = 700 * time.Millisecond
	lateMax       = 900 * time.Millisecond
	retryAfterMax = 300 * time.Millisecond
	forgotten     = time.Hour

	poisoned = 41 // one in so many messages of a publisher is refused by almost everybody
)

// run goes on until the run is over.
func (m *member) run() {
	defer m.drop()
	for !m.r.isOver() {
		present, at, err := m.connect(hello{clean: m.volatile, volatile: m.volatile, receiveMax: m.receiveMax})
		if err != nil {
			m.pause(reconnectPauseMax)
			continue
		}
		m.linked, m.open, m.unpinged, m.pinged = at.begun, nil, nil, nil
		if !present {
			m.joined, m.leaving = existsNot, false
		}
		how := m.serve()
		m.part(how)
		if how != takeOver {
			m.pause(reconnectPauseMax)
		}
	}
}

// serve takes messages until the connection is left.
func (m *member) serve() breakOff {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case in, ok := <-m.link.packets:
			if !ok || m.take(in) != nil {
				return brokenLink
			}
		case <-timer.C:
			timer.Reset(time.Duration(m.rng.Int64N(int64(actionPauseMax))))
			if how := m.mood(memberBreaks); how != stay {
				return how
			}
			if m.act() != nil {
				return brokenLink
			}
		case <-m.r.over:
			return vanish
		}
	}
}

// act does what is due, and something of its own.
func (m *member) act() error {
	draining := m.r.isDraining()
	if !draining && m.chance(memberStalls) {
		m.pause(stallMax)
	}
	if err := m.attend(draining); err != nil {
		return err
	}
	now := time.Now()
	for _, h := range slices.Clone(m.open) {
		if h.answered.IsZero() && (draining || !h.due.After(now)) {
			if err := m.answer(h); err != nil {
				return err
			}
		}
	}
	if m.pinged == nil && len(m.unpinged) > 0 && (draining || m.chance(memberPings)) {
		m.pinged, m.unpinged = m.unpinged, nil
		return m.link.write(frame(packet.PINGREQ, 0, nil))
	}
	return nil
}

// attend joins the channel, or leaves it.
func (m *member) attend(draining bool) error {
	switch {
	case m.leaving:
		return nil
	case m.joined == existsNot:
		m.joined = existsMaybe
		return m.link.write(encodeSubscribe(m.version, 1, m.filter, m.qos))
	case m.joined == existsSurely && !draining && m.chance(memberLeaves):
		m.leaving = true
		return m.link.write(encodeUnsubscribe(m.version, 2, m.filter))
	}
	return nil
}

// take handles a packet. The error says that the connection is of no more use.
func (m *member) take(in packets.Packet) error {
	switch packet.Type(in.FixedHeader.Type) {
	case packet.PUBLISH:
		return m.receive(in)
	case packet.PUBREL:
		m.close(in.PacketID)
		return m.link.write(encodeAck(packet.PUBCOMP, m.version, in.PacketID))
	case packet.SUBACK:
		m.joined = existsSurely
		if slices.ContainsFunc(in.ReasonCodes, func(code byte) bool { return code > m.qos }) {
			m.r.report(kindRefused, "%s: SUBACK 0x%02x for %s", m.id, in.ReasonCodes, m.filter)
		}
	case packet.UNSUBACK:
		m.joined, m.leaving = existsNot, false
	case packet.PINGRESP:
		now := m.r.clock.now()
		for _, h := range m.pinged {
			h.confirmed = now
		}
		m.pinged = nil
	default: // the member of a shared subscription that let a message time out is disconnected
		return errLost
	}
	return nil
}

// receive takes a PUBLISH and decides what is to become of it.
func (m *member) receive(in packets.Packet) error {
	h := &handout{
		member: m, linked: m.linked, at: m.r.clock.now(), clock: time.Now(),
		id: in.PacketID, qos: in.FixedHeader.Qos,
	}
	if !m.read(in, h) {
		return nil
	}
	m.r.counts.received.Add(1)
	if h.qos != m.qos && !m.strict() {
		m.r.report(kindQoS, "%s: %s came with QoS %d", m.id, in.TopicName, h.qos)
	}
	if most := int(m.receiveMax); most > 0 && len(m.open) >= most {
		m.r.report(kindWindow, "%s: %s is message %d in flight, the receive maximum is %d", m.id, in.TopicName, len(m.open)+1, most)
	}
	m.handouts = append(m.handouts, h)
	m.open = append(m.open, h)
	m.decide(h)
	if h.due.After(h.clock) {
		return nil
	}
	return m.answer(h)
}

// read finds out which message it is, and what the channel says of it.
func (m *member) read(in packets.Packet, h *handout) bool {
	var err error
	if h.stream, h.counter, err = parsePayload(in.Payload); err != nil || h.stream >= len(m.r.streams) ||
		string(in.Payload) != string(m.r.streams[h.stream].payload(h.counter)) {
		m.r.report(kindCorrupt, "%s: %s: payload %.40q of %d bytes", m.id, in.TopicName, in.Payload, len(in.Payload))
		return false
	}
	if topic := m.r.streams[h.stream].topic; topic != in.TopicName && !m.outlet.dead {
		m.r.report(kindCorrupt, "%s: %s came as %s", m.id, topic, in.TopicName)
	}
	for _, u := range in.Properties.User {
		n, _ := strconv.Atoi(u.Val) // one that should be a number and is none counts as 0, which is found
		switch {
		case u.Key == "channel-delivery":
			h.number = uint64(n)
		case u.Key == "channel-deliveries":
			h.deliveries = n
		case u.Key == "channel-failures":
			h.failures = n
		case strings.HasPrefix(u.Key, letterPrefix):
			if h.letter == nil {
				h.letter = map[string]string{}
			}
			h.letter[strings.TrimPrefix(u.Key, letterPrefix)] = u.Val
		}
	}
	return true
}

// letterPrefix begins the user properties of a dead letter.
const letterPrefix = "dead-letter-"

// decide chooses what to answer, and when.
func (m *member) decide(h *handout) {
	h.due, h.retryAfter = h.clock, -1
	if m.r.isDraining() {
		return
	}
	refuses := memberRefuses
	if h.counter%poisoned == 0 {
		refuses = 0.9
	}
	if m.version == packet.V5 && m.chance(refuses) {
		if h.refuse = true; m.chance(0.5) {
			h.retryAfter = time.Duration(m.rng.Int64N(int64(retryAfterMax)))
		}
	}
	switch {
	case m.chance(memberIsLate):
		h.due = h.clock.Add(time.Duration(m.rng.Int64N(int64(lateMax))))
	case m.chance(memberForgets):
		h.due = h.clock.Add(forgotten)
	}
}

// answer acknowledges a message or refuses it.
func (m *member) answer(h *handout) error {
	kind := packet.PUBACK
	if h.qos == 2 {
		kind = packet.PUBREC
	}
	h.answered = time.Now()
	m.unpinged = append(m.unpinged, h)
	b := encodeAck(kind, m.version, h.id)
	if h.refuse {
		b = encodeRefusal(kind, h.id, h.retryAfter)
	}
	if h.refuse || h.qos == 1 {
		m.close(h.id)
	}
	return m.link.write(b)
}

// close ends an exchange: its identifier is free.
func (m *member) close(id uint16) {
	m.open = slices.DeleteFunc(m.open, func(h *handout) bool { return h.id == id })
}

// encodeRefusal builds a negative acknowledgement of MQTT 5.
func encodeRefusal(kind packet.Type, id uint16, retryAfter time.Duration) []byte {
	var properties []byte
	if retryAfter >= 0 {
		properties = text(text([]byte{0x26}, "retry-after"), seconds(retryAfter))
	}
	body := append(binary.BigEndian.AppendUint16(nil, id), byte(packet.ImplementationError))
	return frame(kind, 0, block(body, properties))
}
