package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	paholog "github.com/eclipse/paho.golang/paho/log"
	"github.com/eclipse/paho.golang/paho/session"

	"github.com/penstockmq/penstock/broker/packet"
)

// A remote5 is a connection with MQTT 5.
type remote5 struct {
	// Fixed when open5 returns.
	stream  *stream
	client  *paho.Client
	allowed terms
	peer    peer
	once    sync.Once // lost, or close
}

func open5(ctx context.Context, o *options, s *stream, p peer) (remote, error) {
	r := &remote5{stream: s, peer: p}
	r.client = paho.NewClient(paho.ClientConfig{
		Conn: lockedStream{s}, PacketTimeout: o.timeout,
		Session: &session5{peer: p, spareID: o.spareID},
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(m paho.PublishReceived) (bool, error) {
			p.arrived(incoming5(m.Packet.Packet())) // of QoS 0; session5 has the others
			return true, nil
		}},
		OnServerDisconnect: func(d *paho.Disconnect) { r.end(disconnected5(d)) },
		OnClientError:      func(err error) { r.end(plain(err)) },
	})
	answer, err := r.client.Connect(ctx, connect5(o))
	if err != nil {
		s.Close()
		return nil, refused5(o, answer, err)
	}
	r.allowed = terms5(answer)
	return r, nil
}

func (r *remote5) end(err error) { r.once.Do(func() { r.peer.lost(err) }) }

// connect5 is the CONNECT packet.
func connect5(o *options) *paho.Connect {
	expiry := uint32(0)
	if o.durable {
		expiry = 0xFFFFFFFF // it does not end [MQTT5-3.1.2-23]
	}
	c := &paho.Connect{
		ClientID: o.clientID, KeepAlive: o.keepAlive, CleanStart: o.clean,
		Username: o.username, UsernameFlag: o.username != "", Password: []byte(o.password), PasswordFlag: o.password != "",
		Properties: &paho.ConnectProperties{
			SessionExpiryInterval: &expiry, ReceiveMaximum: &o.window, MaximumPacketSize: &o.packetMax, RequestProblemInfo: true,
			User: paho.UserProperties{{Key: PropertyBridge, Value: o.broker}},
		},
	}
	if o.hasWill() {
		c.WillMessage = &paho.WillMessage{Topic: o.stateTopic, Payload: []byte(stateDisconnected), QoS: stateQoS, Retain: true}
		c.WillProperties = &paho.WillProperties{}
	}
	return c
}

// refused5 tells a refusal from a failure to connect.
func refused5(o *options, answer *paho.Connack, err error) error {
	operation := "connect to " + o.target.name
	if answer == nil {
		// A broker that does not know MQTT 5 answers with a CONNACK of MQTT 3.1.1, which has no properties, or just closes.
		if errors.Is(err, io.EOF) || strings.Contains(err.Error(), "EOF") {
			return fmt.Errorf("%s: %w", operation, errVersion)
		}
		return fmt.Errorf("%s: %w", operation, plain(err))
	}
	code := packet.Code(answer.ReasonCode)
	if code == packet.UnsupportedProtocolVersion || answer.ReasonCode == 1 { // the second is MQTT 3.1.1's [MQTT311-3.1.2-2]
		return fmt.Errorf("%s: %w", operation, errVersion)
	}
	if !code.Failed() {
		return fmt.Errorf("%s: %w", operation, err)
	}
	f := &refusal{operation: operation, code: code}
	if answer.Properties != nil {
		f.reason = answer.Properties.ReasonString
	}
	return f
}

func disconnected5(d *paho.Disconnect) error {
	f := &refusal{operation: "the other broker ended the connection", code: packet.Code(d.ReasonCode)}
	if d.Properties != nil {
		f.reason = d.Properties.ReasonString
	}
	return f
}

// plain makes the end of a stream a sentence.
func plain(err error) error {
	var timeout net.Error
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errClosed
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return errors.New("the other side does not answer")
	}
	return err
}

func terms5(answer *paho.Connack) terms {
	t := terms{version: packet.V5, sessionPresent: answer.SessionPresent, receiveMaximum: 65535, qosMax: 2, retain: true}
	p := answer.Properties
	if p == nil {
		return t
	}
	if p.ReceiveMaximum != nil {
		t.receiveMaximum = int(*p.ReceiveMaximum)
	}
	if p.MaximumPacketSize != nil {
		t.packetMax = *p.MaximumPacketSize
	}
	if p.MaximumQoS != nil {
		t.qosMax = *p.MaximumQoS
	}
	t.retain = p.RetainAvailable
	return t
}

func (r *remote5) terms() terms { return r.allowed }

func (r *remote5) publish(o *packet.Outgoing) error {
	return r.stream.send(packet.AppendPublish(nil, packet.V5, o))
}

func (r *remote5) answer(t packet.Type, id uint16) error {
	return r.stream.send(packet.AppendAck(nil, t, packet.V5, packet.Ack{ID: id}))
}

func (r *remote5) subscribe(ctx context.Context, filters []subscription) ([]packet.Code, error) {
	s := &paho.Subscribe{}
	for _, f := range filters {
		s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{
			Topic: f.filter, QoS: f.qos, NoLocal: true, RetainAsPublished: true,
		})
	}
	answer, err := r.client.Subscribe(ctx, s)
	if answer == nil {
		return nil, fmt.Errorf("subscribe: %w", plain(err))
	}
	if len(answer.Reasons) != len(filters) { // [MQTT5-3.9.3-1]
		return nil, fmt.Errorf("subscribe: %d answers to %d filters", len(answer.Reasons), len(filters))
	}
	codes := make([]packet.Code, len(filters))
	for i, code := range answer.Reasons {
		codes[i] = packet.Code(code)
	}
	return codes, nil
}

func (r *remote5) unsubscribe(ctx context.Context, filters []string) error {
	if answer, err := r.client.Unsubscribe(ctx, &paho.Unsubscribe{Topics: filters}); answer == nil {
		return fmt.Errorf("unsubscribe: %w", plain(err))
	}
	return nil
}

func (r *remote5) close() {
	r.once.Do(func() {})
	// It fails only if the connection is gone, and closes what is left of it either way.
	_ = r.client.Disconnect(&paho.Disconnect{})
	r.stream.Close()
}

// incoming5 is the message in a PUBLISH packet.
func incoming5(p *packets.Publish) *incoming {
	m := &incoming{id: p.PacketID, dup: p.Duplicate}
	m.Topic, m.Payload, m.QoS, m.Retain = p.Topic, p.Payload, p.QoS, p.Retain
	if p.Properties == nil {
		return m
	}
	f := packet.Forwarded{
		PayloadFormat: p.Properties.PayloadFormat, ContentType: p.Properties.ContentType,
		ResponseTopic: p.Properties.ResponseTopic, CorrelationData: p.Properties.CorrelationData,
	}
	for _, u := range p.Properties.User {
		f.User = append(f.User, packet.UserProperty{Key: u.Key, Value: u.Value})
	}
	m.Properties = packet.AppendProperties(nil, &f)
	if p.Properties.MessageExpiry != nil {
		m.Expires = int64(*p.Properties.MessageExpiry) * 1e9 // from now on, which arrived adds
	}
	return m
}

// A session5 stands in for paho's session state. Identifiers and exchanges are the link's; it keeps only what SUBSCRIBE and UNSUBSCRIBE need.
type session5 struct {
	peer    peer
	spareID uint16
	waiting atomic.Pointer[chan<- packets.ControlPacket] // for SUBACK or UNSUBACK
}

var errIdentifier = errors.New("only one SUBSCRIBE or UNSUBSCRIBE at a time")

// ConAckReceived implements session.SessionManager.
func (s *session5) ConAckReceived(io.Writer, *packets.Connect, *packets.Connack) error { return nil }

// ConnectionLost implements session.SessionManager.
func (s *session5) ConnectionLost(*packets.Disconnect) error {
	s.answerWaiting(packets.ControlPacket{}) // as paho's own state says that there will be no answer
	return nil
}

// AddToSession implements session.SessionManager. Only SUBSCRIBE and UNSUBSCRIBE come here.
func (s *session5) AddToSession(_ context.Context, p session.Packet, answer chan<- packets.ControlPacket) error {
	if !s.waiting.CompareAndSwap(nil, &answer) {
		return errIdentifier
	}
	p.SetIdentifier(s.spareID)
	return nil
}

func (s *session5) answerWaiting(p packets.ControlPacket) {
	if c := s.waiting.Swap(nil); c != nil {
		*c <- p // it has room for one
	}
}

// PacketReceived implements session.SessionManager.
func (s *session5) PacketReceived(p *packets.ControlPacket, _ chan<- *packets.Publish) error {
	switch a := p.Content.(type) {
	case *packets.Publish:
		s.peer.arrived(incoming5(a))
	case *packets.Puback:
		s.peer.acknowledged(packet.PUBACK, a.PacketID, packet.Code(a.ReasonCode))
	case *packets.Pubrec:
		s.peer.acknowledged(packet.PUBREC, a.PacketID, packet.Code(a.ReasonCode))
	case *packets.Pubcomp:
		s.peer.acknowledged(packet.PUBCOMP, a.PacketID, packet.Code(a.ReasonCode))
	case *packets.Pubrel:
		s.peer.released(a.PacketID)
	case *packets.Suback, *packets.Unsuback:
		s.answerWaiting(*p)
	}
	return nil
}

// Ack implements session.SessionManager: the link answers.
func (s *session5) Ack(*packets.Publish) error { return nil }

// Close implements session.SessionManager.
func (s *session5) Close() error { return nil }

// SetErrorLogger implements session.SessionManager.
func (s *session5) SetErrorLogger(paholog.Logger) {}

// SetDebugLogger implements session.SessionManager.
func (s *session5) SetDebugLogger(paholog.Logger) {}
