package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/broker/packet"
)

// patience bounds every wait of a testClient. In a synctest bubble it passes at once when nothing else can
// happen.
const patience = 20 * time.Second

// A testClient is an MQTT client that does nothing by itself: a test says what it sends and what it expects.
type testClient struct {
	t  testing.TB
	nc net.Conn
	v  packet.Version
}

// A hello is what a CONNECT packet says. The zero value of a field is not sent.
type hello struct {
	id         string
	resume     bool // clean start off
	keepAlive  uint16
	expiry     uint32 // of the session, MQTT 5; an older client that resumes has one that never ends
	receiveMax uint16
	maxPacket  uint32
	aliasMax   uint16
	authMethod string
	will       *testWill
	username   string
}

type testWill struct {
	topic, payload string
	qos            byte
	retain         bool
	delay          uint32
}

// pipe attaches one end of a net.Pipe to the broker and returns a client at the other.
func pipe(t testing.TB, b *Broker, v packet.Version) *testClient {
	t.Helper()
	near, far := net.Pipe()
	b.Attach(far, listener.Peer{Listener: "test"})
	t.Cleanup(func() { near.Close() })
	return &testClient{t: t, nc: near, v: v}
}

// dial attaches one end of a loopback TCP connection. bufferSize, if not 0, is asked for on both sides.
func dial(t testing.TB, b *Broker, v packet.Version, bufferSize int) *testClient {
	t.Helper()
	near, far, err := tcpPair()
	if err != nil {
		t.Fatal(err)
	}
	if bufferSize > 0 {
		if err := errors.Join(near.SetReadBuffer(bufferSize), far.SetWriteBuffer(bufferSize)); err != nil {
			t.Fatal(err)
		}
	}
	b.Attach(far, listener.Peer{Listener: "test", Remote: far.RemoteAddr()})
	t.Cleanup(func() { near.Close() })
	return &testClient{t: t, nc: near, v: v}
}

func tcpPair() (near, far *net.TCPConn, err error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if near, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr)); err != nil {
		return nil, nil, err
	}
	if far, err = l.AcceptTCP(); err != nil {
		near.Close()
		return nil, nil, err
	}
	return near, far, nil
}

// connected is pipe and a CONNECT that is accepted.
func connected(t testing.TB, b *Broker, v packet.Version, h hello) *testClient {
	t.Helper()
	c := pipe(t, b, v)
	c.connect(h)
	return c
}

// connect sends CONNECT and wants it accepted.
func (c *testClient) connect(h hello) packets.Packet {
	c.t.Helper()
	c.write(h.packet(c.v))
	ack := c.want(packet.CONNACK)
	if ack.ReasonCode != 0 {
		c.t.Fatalf("%s: CONNACK 0x%02x, want success", h.id, ack.ReasonCode)
	}
	return ack
}

func (h hello) packet(v packet.Version) []byte {
	flags := byte(0)
	if !h.resume {
		flags |= 0x02
	}
	if h.username != "" {
		flags |= 0x80
	}
	if h.will != nil {
		flags |= 0x04 | h.will.qos<<3
		if h.will.retain {
			flags |= 0x20
		}
	}
	name := "MQTT"
	if v == packet.V31 {
		name = "MQIsdp"
	}
	body := append(lengthFirst(nil, name), byte(v), flags)
	body = binary.BigEndian.AppendUint16(body, h.keepAlive)
	if v == packet.V5 {
		body = block(body, h.properties())
	}
	body = lengthFirst(body, h.id)
	if h.will != nil {
		body = h.will.append(body, v)
	}
	if h.username != "" {
		body = lengthFirst(body, h.username)
	}
	return framed(packet.CONNECT, 0, body)
}

func (h hello) properties() (p []byte) {
	if h.expiry != 0 {
		p = binary.BigEndian.AppendUint32(append(p, 0x11), h.expiry)
	}
	if h.receiveMax != 0 {
		p = binary.BigEndian.AppendUint16(append(p, 0x21), h.receiveMax)
	}
	if h.maxPacket != 0 {
		p = binary.BigEndian.AppendUint32(append(p, 0x27), h.maxPacket)
	}
	if h.aliasMax != 0 {
		p = binary.BigEndian.AppendUint16(append(p, 0x22), h.aliasMax)
	}
	if h.authMethod != "" {
		p = lengthFirst(append(p, 0x15), h.authMethod)
	}
	return p
}

func (w *testWill) append(body []byte, v packet.Version) []byte {
	if v == packet.V5 {
		var p []byte
		if w.delay != 0 {
			p = binary.BigEndian.AppendUint32(append(p, 0x18), w.delay)
		}
		body = block(body, p)
	}
	return lengthFirst(lengthFirst(body, w.topic), w.payload)
}

func lengthFirst(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// block appends properties, fewer than 128 bytes of them, with their length in front.
func block(dst, properties []byte) []byte {
	return append(append(dst, byte(len(properties))), properties...)
}

func framed(kind packet.Type, flags byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{byte(kind)<<4 | flags}, uint64(len(body))), body...)
}

func subscribePacket(v packet.Version, id uint16, qos byte, filters ...string) []byte {
	body := binary.BigEndian.AppendUint16(nil, id)
	if v == packet.V5 {
		body = block(body, nil)
	}
	for _, f := range filters {
		body = append(lengthFirst(body, f), qos)
	}
	return framed(packet.SUBSCRIBE, 2, body)
}

func unsubscribePacket(v packet.Version, id uint16, filter string) []byte {
	body := binary.BigEndian.AppendUint16(nil, id)
	if v == packet.V5 {
		body = block(body, nil)
	}
	return framed(packet.UNSUBSCRIBE, 2, lengthFirst(body, filter))
}

// subscribe makes one subscription and wants it granted as asked.
func (c *testClient) subscribe(qos byte, filter string) {
	c.t.Helper()
	c.write(subscribePacket(c.v, 1, qos, filter))
	if got := c.want(packet.SUBACK).ReasonCodes; len(got) != 1 || got[0] != qos {
		c.t.Fatalf("SUBACK for %s: % x, want QoS %d", filter, got, qos)
	}
}

// publish sends a PUBLISH packet, with packet identifier id if the QoS is not 0.
func (c *testClient) publish(o packet.Outgoing) {
	c.t.Helper()
	c.write(packet.AppendPublish(nil, c.v, &o))
}

// say publishes with QoS 0.
func (c *testClient) say(topic, payload string) {
	c.t.Helper()
	c.publish(packet.Outgoing{Topic: topic, Payload: []byte(payload)})
}

// ask publishes with QoS 1 or 2 and packet identifier id.
func (c *testClient) ask(qos byte, id uint16, topic, payload string) {
	c.t.Helper()
	c.publish(packet.Outgoing{Topic: topic, Payload: []byte(payload), QoS: qos, ID: id})
}

// ack sends PUBACK, PUBREC, PUBREL or PUBCOMP.
func (c *testClient) ack(kind packet.Type, id uint16) {
	c.t.Helper()
	c.write(packet.AppendAck(nil, kind, c.v, packet.Ack{ID: id}))
}

// disconnect sends DISCONNECT; the socket stays open.
func (c *testClient) disconnect() {
	c.t.Helper()
	c.write(framed(packet.DISCONNECT, 0, nil))
}

func (c *testClient) write(b []byte) {
	c.t.Helper()
	c.nc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// want reads one packet, which must be of a type.
func (c *testClient) want(kind packet.Type) packets.Packet {
	c.t.Helper()
	p, err := c.read()
	if err != nil {
		c.t.Fatalf("want %s: %v", kind, err)
	}
	if got := packet.Type(p.FixedHeader.Type); got != kind {
		c.t.Fatalf("got %s, want %s: %s", got, kind, summary(p))
	}
	return p
}

// wantAck reads an acknowledgement with a packet identifier and a reason code.
func (c *testClient) wantAck(kind packet.Type, id uint16, code packet.Code) {
	c.t.Helper()
	p := c.want(kind)
	if p.PacketID != id || packet.Code(p.ReasonCode) != code {
		c.t.Fatalf("%s id %d code 0x%02x, want id %d code 0x%02x", kind, p.PacketID, p.ReasonCode, id, byte(code))
	}
}

// wantMessage reads a PUBLISH of a topic and payload.
func (c *testClient) wantMessage(topic, payload string) packets.Packet {
	c.t.Helper()
	p := c.want(packet.PUBLISH)
	if p.TopicName != topic || string(p.Payload) != payload {
		c.t.Fatalf("PUBLISH %s %.40q, want %s %.40q", p.TopicName, p.Payload, topic, payload)
	}
	return p
}

// wantNothing proves that the broker has sent nothing: a PINGREQ is answered first.
func (c *testClient) wantNothing() {
	c.t.Helper()
	c.write(framed(packet.PINGREQ, 0, nil))
	c.want(packet.PINGRESP)
}

// wantClosed reads until the broker has closed the connection and returns the last packet before.
func (c *testClient) wantClosed() (last packets.Packet) {
	c.t.Helper()
	for {
		p, err := c.read()
		if errors.Is(err, io.EOF) || isReset(err) {
			return last
		}
		if err != nil {
			c.t.Fatalf("want the connection closed: %v", err)
		}
		last = p
	}
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

// wantDisconnect reads a DISCONNECT with a code and then the end.
func (c *testClient) wantDisconnect(code packet.Code) {
	c.t.Helper()
	if p := c.want(packet.DISCONNECT); packet.Code(p.ReasonCode) != code {
		c.t.Fatalf("DISCONNECT 0x%02x, want %s", p.ReasonCode, code)
	}
	c.wantClosed()
}

// read reads one packet.
func (c *testClient) read() (p packets.Packet, err error) {
	c.nc.SetReadDeadline(time.Now().Add(patience))
	return readPacket(c.nc, c.v)
}

func readPacket(r io.Reader, v packet.Version) (p packets.Packet, err error) {
	var head [1]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return p, err
	}
	length, err := binary.ReadUvarint(oneByte{r})
	if err != nil {
		return p, err
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return p, fmt.Errorf("body of a packet: %w", err)
	}
	return decodePacket(head[0], body, v)
}

// oneByte reads byte by byte, so that nothing behind a packet is taken.
type oneByte struct{ io.Reader }

// ReadByte implements io.ByteReader.
func (r oneByte) ReadByte() (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r.Reader, b[:])
	return b[0], err
}

func decodePacket(head byte, body []byte, v packet.Version) (p packets.Packet, err error) {
	p.ProtocolVersion = byte(v)
	if err := p.FixedHeader.Decode(head); err != nil {
		return p, err
	}
	p.FixedHeader.Remaining = len(body)
	decode := map[packet.Type]func([]byte) error{
		packet.CONNACK: p.ConnackDecode, packet.PUBLISH: p.PublishDecode, packet.PUBACK: p.PubackDecode,
		packet.PUBREC: p.PubrecDecode, packet.PUBREL: p.PubrelDecode, packet.PUBCOMP: p.PubcompDecode,
		packet.SUBACK: p.SubackDecode, packet.UNSUBACK: p.UnsubackDecode, packet.PINGRESP: p.PingrespDecode,
		packet.DISCONNECT: p.DisconnectDecode, packet.AUTH: p.AuthDecode,
	}[packet.TypeOf(head)]
	if decode == nil {
		return p, fmt.Errorf("a broker must not send %s", packet.TypeOf(head))
	}
	return p, decode(body)
}

func summary(p packets.Packet) string {
	return fmt.Sprintf("topic %q payload %.40q id %d code 0x%02x codes % x reason %q", p.TopicName, p.Payload, p.PacketID,
		p.ReasonCode, p.ReasonCodes, p.Properties.ReasonString)
}
