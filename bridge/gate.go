package bridge

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/penstockmq/penstock/broker/packet"
)

// A gate stands between paho.mqtt.golang and the connection, and keeps the exchanges of QoS 1 and 2 to itself: the acknowledgements
// that arrive go to the link, and the client sees none. It would answer PUBREC and PUBREL at once, before anything is on disk, and
// forget on the way that it sent PUBREL, so that a message whose PUBCOMP was lost is published again.
// It also gives SUBSCRIBE and UNSUBSCRIBE the identifier that is not in use.
type gate struct {
	*stream
	// Fixed when newGate returns.
	peer      peer
	packetMax uint32
	spareID   uint16
	// Only the goroutine that reads touches these.
	frame []byte // the packet being read by the client
	rest  []byte // what it has not read of it
	// Only who writes SUBSCRIBE or UNSUBSCRIBE, and then who reads its answer.
	subscribeID uint16
}

func newGate(s *stream, p peer, o *options) *gate {
	return &gate{stream: s, peer: p, packetMax: o.packetMax, spareID: o.spareID}
}

// Write takes a whole packet, which is how the client writes.
func (g *gate) Write(b []byte) (int, error) {
	if t := packet.TypeOf(b[0]); t == packet.SUBSCRIBE || t == packet.UNSUBSCRIBE {
		at := headerSize(b)
		g.subscribeID = binary.BigEndian.Uint16(b[at:])
		binary.BigEndian.PutUint16(b[at:], g.spareID)
	}
	return len(b), g.stream.send(b)
}

// headerSize is the length of a fixed header.
func headerSize(b []byte) int {
	at := 1
	for b[at] >= 0x80 {
		at++
	}
	return at + 1
}

// Read gives the client the packets that are its business.
func (g *gate) Read(b []byte) (int, error) {
	for len(g.rest) == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

// next reads a packet and hands it to whose it is.
func (g *gate) next() error {
	head, err := g.reader.ReadByte()
	if err != nil {
		return err
	}
	length, err := binary.ReadUvarint(g.reader)
	if err != nil {
		return err
	}
	if length > uint64(g.packetMax) {
		return g.skip(head, length)
	}
	g.frame = binary.AppendUvarint(append(g.frame[:0], head), length)
	start := len(g.frame)
	g.frame = append(g.frame, make([]byte, length)...)
	body := g.frame[start:]
	if _, err := io.ReadFull(g.reader, body); err != nil {
		return err
	}
	return g.hand(head, body)
}

func (g *gate) hand(head byte, body []byte) error {
	t := packet.TypeOf(head)
	switch t {
	case packet.PUBACK, packet.PUBREC, packet.PUBCOMP, packet.PUBREL:
		a, err := packet.DecodeAck(t, body, packet.V311, packet.Limits{})
		if err != nil {
			return fmt.Errorf("%w: %w", errFrame, err)
		}
		if t == packet.PUBREL {
			g.peer.released(a.ID)
		} else {
			g.peer.acknowledged(t, a.ID, packet.Success)
		}
		return nil
	case packet.SUBACK, packet.UNSUBACK:
		if len(body) < 2 || binary.BigEndian.Uint16(body) != g.spareID {
			return nil // to nothing that was asked
		}
		binary.BigEndian.PutUint16(body, g.subscribeID)
	}
	g.rest = g.frame
	return nil
}

// skip passes over a message that is larger than this broker takes. The other one cannot be told beforehand with MQTT 3.1.1, and would
// send it again for ever.
func (g *gate) skip(head byte, length uint64) error {
	qos := head >> 1 & 3
	if packet.TypeOf(head) != packet.PUBLISH || qos == 3 {
		return fmt.Errorf("%w: a packet of %d bytes", errFrame, length)
	}
	var name [2]byte
	if _, err := io.ReadFull(g.reader, name[:]); err != nil {
		return err
	}
	top := make([]byte, min(uint64(binary.BigEndian.Uint16(name[:]))+2, length-2)) // with the identifier
	if _, err := io.ReadFull(g.reader, top); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, g.reader, int64(length)-2-int64(len(top))); err != nil {
		return err
	}
	m := &incoming{}
	m.QoS, m.Topic, m.Payload = qos, string(top[:len(top)-2]), nil
	m.id = binary.BigEndian.Uint16(top[len(top)-2:])
	m.large = true
	g.peer.arrived(m)
	return nil
}

// nothing is a store for a client that has nothing to keep.
type nothing struct{}

// Open implements mqtt.Store.
func (nothing) Open() {}

// Put implements mqtt.Store.
func (nothing) Put(string, packets.ControlPacket) {}

// Get implements mqtt.Store.
func (nothing) Get(string) packets.ControlPacket { return nil }

// All implements mqtt.Store.
func (nothing) All() []string { return nil }

// Del implements mqtt.Store.
func (nothing) Del(string) {}

// Close implements mqtt.Store.
func (nothing) Close() {}

// Reset implements mqtt.Store.
func (nothing) Reset() {}
