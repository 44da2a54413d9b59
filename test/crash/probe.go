package crash

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/broker/packet"
)

// probe looks at the retained messages of a broker that has just started, while no other client is connected.
func (r *run) probe(address string) {
	found, err := r.readRetained(address)
	if err != nil {
		// A broker that ends itself right after its start is found by whoever waits for that.
		r.report(kindStalled, "reading retained messages: %v", err)
		return
	}
	for _, s := range r.streams {
		if !s.retain {
			continue
		}
		r.counts.retained.Add(1)
		if err := s.judgeRetained(found[s.topic]); err != nil {
			r.report(kindRetained, "start %d: %v", r.incarnation.Load(), err)
		}
	}
}

// markTopic carries the message that follows every retained one.
const markTopic = "probe"

// readRetained gets every retained message, by topic.
func (r *run) readRetained(address string) (map[string][]byte, error) {
	h := hello{id: "probe", version: packet.V5, clean: true, volatile: true}
	l, err := dial(address, h.version)
	if err != nil {
		return nil, err
	}
	defer l.close()
	packets := slices.Concat(h.encode(), encodeSubscribe(h.version, 1, "r/#", 2), encodeSubscribe(h.version, 2, markTopic, 1),
		packet.AppendPublish(nil, h.version, &packet.Outgoing{Topic: markTopic, QoS: 1, ID: 3}))
	if err := l.write(packets); err != nil {
		return nil, err
	}
	found := map[string][]byte{}
	for {
		p, err := l.next()
		if err != nil {
			return nil, err
		}
		done, err := noteRetained(found, p)
		if done || err != nil {
			return found, err
		}
		if p.FixedHeader.Type == byte(packet.PUBLISH) {
			if err := l.write(answer(p)); err != nil {
				return nil, err
			}
		}
	}
}

// noteRetained takes a packet of the probe. It is done with the mark.
func noteRetained(found map[string][]byte, p packets.Packet) (done bool, err error) {
	switch {
	case packet.Type(p.FixedHeader.Type) == packet.DISCONNECT, p.FixedHeader.Type == byte(packet.CONNACK) && p.ReasonCode != 0:
		return false, fmt.Errorf("refused with 0x%02x", p.ReasonCode)
	case packet.Type(p.FixedHeader.Type) != packet.PUBLISH:
		return false, nil
	case p.TopicName == markTopic:
		return true, nil
	case !p.FixedHeader.Retain:
		return false, errors.New("a message without RETAIN though nobody publishes")
	case found[p.TopicName] != nil:
		return false, fmt.Errorf("%s has two retained messages", p.TopicName)
	}
	found[p.TopicName] = bytes.Clone(p.Payload)
	return false, nil
}

// answer acknowledges a PUBLISH to a client of MQTT 5, so that the window stays open.
func answer(p packets.Packet) []byte {
	kind := packet.PUBACK
	if p.FixedHeader.Qos == 2 {
		kind = packet.PUBREC
	}
	return encodeAck(kind, packet.V5, p.PacketID) // without a reason code, as in MQTT 3.1.1
}

// judgeRetained compares a topic's retained message with what was published: it must be what the last acknowledged
// message made of it, or what a later one did.
func (s *stream) judgeRetained(payload []byte) error {
	sent := s.all()
	least := 0 // counter of the last acknowledged one
	for i := range sent {
		if sent[i].done != 0 {
			least = i + 1
		}
	}
	if len(payload) == 0 {
		return s.judgeAbsent(sent, least)
	}
	index, counter, err := parsePayload(payload)
	switch {
	case err != nil, index != s.index, counter > len(sent), counter < 1, !bytes.Equal(payload, s.payload(counter)):
		return fmt.Errorf("%s: %.40q was never published (%v)", s.topic, payload, err)
	case counter < least && sent[least-1].deletes:
		return fmt.Errorf("%s: message %d is there, though %d deleted it", s.topic, counter, least)
	case counter < least:
		return fmt.Errorf("%s: message %d is there, though %d replaced it", s.topic, counter, least)
	case sent[counter-1].deletes:
		return fmt.Errorf("%s: message %d was a deletion", s.topic, counter)
	}
	return nil
}

// judgeAbsent is judgeRetained for a topic without a retained message.
func (s *stream) judgeAbsent(sent []publication, least int) error {
	if least == 0 {
		return nil
	}
	for _, p := range sent[least-1:] {
		if p.deletes {
			return nil
		}
	}
	return fmt.Errorf("%s: no retained message, though message %d was acknowledged", s.topic, least)
}
