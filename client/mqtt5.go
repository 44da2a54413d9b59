package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	paho5 "github.com/eclipse/paho.golang/paho/session/state"

	"github.com/penstockmq/penstock/broker/packet"
)

// A link5 is a connection with MQTT 5.
type link5 struct {
	*ending
	// Fixed when open5 returns.
	options *Options
	conn    lockedConn
	client  *paho.Client
	session *session5
	pinger  paho.Pinger
	allowed *paho.ConnackProperties // what the broker said in CONNACK

	waiting sync.WaitGroup // for acknowledgements

	settling sync.Mutex // held while settling, guards left
	left     bool       // disconnect was called
}

// A lockedConn is a connection that several goroutines write to. Paho writes a packet in two pieces and holds the lock
// meanwhile, and so must everybody who writes, or a packet gets into another.
type lockedConn interface {
	net.Conn
	sync.Locker
}

// A session5 is a session that acknowledges only what its receiver took. Paho calls Ack for
// every message, one at a time, after its (empty) handler.
type session5 struct {
	*paho5.State
	receiver receiver
}

// Ack hands the message over, and acknowledges it if it was taken.
func (s *session5) Ack(p *packets.Publish) (err error) {
	if !s.receiver.take(received5(p), receipt{mqtt5: p}) {
		return nil
	}
	if p.QoS > 0 {
		err = s.State.Ack(p)
	}
	s.receiver.taken()
	return err
}

func open5(ctx context.Context, o *Options, s *state, r receiver) (link, error) {
	socket, err := o.Endpoint.Dial(ctx, o.Timeout)
	if err != nil {
		return nil, notConnected(&o.Endpoint, err)
	}
	l := &link5{
		ending: newEnding(), options: o, conn: packets.NewThreadSafeConn(socket).(lockedConn),
		session: &session5{State: s.mqtt5, receiver: r}, pinger: paho.NewDefaultPinger(),
	}
	l.client = paho.NewClient(paho.ClientConfig{
		Conn: l.conn, Session: l.session, PingHandler: l.pinger, PacketTimeout: o.Timeout,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(paho.PublishReceived) (bool, error) { return true, nil }, // session5.Ack does the work
		},
		OnServerDisconnect: func(d *paho.Disconnect) { l.end(ended5(d)) },
		OnClientError:      func(err error) { l.end(lost(err)) },
	})
	answer, err := l.client.Connect(ctx, connect5(o))
	if err != nil {
		return nil, refused5(o, answer, err)
	}
	l.allowed = answer.Properties
	return l, nil
}

// refused5 tells a refusal from a failure to connect.
func refused5(o *Options, answer *paho.Connack, err error) error {
	if answer == nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the broker closed the connection")
		}
		return notConnected(&o.Endpoint, err)
	}
	r := &Refusal{Operation: opConnect, Code: packet.Code(answer.ReasonCode)}
	if answer.Properties != nil {
		r.Reason = answer.Properties.ReasonString
	}
	return r
}

func ended5(d *paho.Disconnect) error {
	r := &Refusal{Operation: opEnded, Code: packet.Code(d.ReasonCode)}
	if d.Properties != nil {
		r.Reason = d.Properties.ReasonString
	}
	return r
}

// lost makes the plain end of a stream a sentence.
func lost(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return errLost
	}
	return fmt.Errorf("%w: %w", errLost, err)
}

func (l *link5) publish(ctx context.Context, m *Message) (<-chan error, error) {
	if err := l.check(m); err != nil {
		return nil, err
	}
	p := publish5(m)
	answer := make(chan packets.ControlPacket, 1)
	if m.QoS > 0 {
		// Waits while the broker's Receive Maximum is used up [MQTT5-3.3.4-7].
		if err := l.session.AddToSession(ctx, p, answer); err != nil {
			return nil, err
		}
	}
	if _, err := p.WriteTo(l.conn); err != nil {
		return nil, lost(err)
	}
	l.pinger.PacketSent()
	if m.QoS == 0 {
		return settled(), nil
	}
	outcome := make(chan error, 1)
	l.waiting.Go(func() { outcome <- l.await(m.Topic, answer) })
	return outcome, nil
}

// await waits for an acknowledgement or the end of the connection, whichever came first.
func (l *link5) await(topic string, answer <-chan packets.ControlPacket) error {
	select {
	case a := <-answer:
		return l.outcome(topic, a)
	case <-l.ended():
	}
	select {
	case a := <-answer:
		return l.outcome(topic, a)
	default:
		return l.why()
	}
}

// check refuses what the broker said it does not take.
func (l *link5) check(m *Message) error {
	refuse := func(code packet.Code) error { return &Refusal{Operation: "publish " + m.Topic, Code: code} }
	a := l.allowed
	switch {
	case a == nil:
		return nil
	case a.MaximumQoS != nil && m.QoS > *a.MaximumQoS:
		return refuse(packet.QoSNotSupported) // [MQTT5-3.2.2-11]
	case m.Retain && !a.RetainAvailable:
		return refuse(packet.RetainNotSupported) // [MQTT5-3.2.2-14]
	case a.MaximumPacketSize != nil && sizeOf(publish5(m)) > int64(*a.MaximumPacketSize):
		return refuse(packet.PacketTooLarge) // [MQTT5-3.2.2-15]
	}
	return nil
}

func sizeOf(p *packets.Publish) int64 {
	n, _ := p.WriteTo(io.Discard) // which never fails
	return n
}

// outcome reads PUBACK, PUBCOMP or a PUBREC that ends the exchange.
func (l *link5) outcome(topic string, answer packets.ControlPacket) error {
	var code byte
	var reason string
	switch a := answer.Content.(type) {
	case *packets.Puback:
		code, reason = a.ReasonCode, reasonString(a.Properties)
	case *packets.Pubrec:
		code, reason = a.ReasonCode, reasonString(a.Properties)
	case *packets.Pubcomp:
		code, reason = a.ReasonCode, reasonString(a.Properties)
	default: // the session was closed
		return l.why()
	}
	if c := packet.Code(code); c.Failed() {
		return &Refusal{Operation: "publish " + topic, Code: c, Reason: reason}
	}
	return nil
}

func reasonString(p *packets.Properties) string {
	if p == nil {
		return ""
	}
	return p.ReasonString
}

func (l *link5) subscribe(ctx context.Context, filters []Filter) ([]error, error) {
	s := &paho.Subscribe{}
	for _, f := range filters {
		s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{
			Topic: f.Filter, QoS: f.QoS, NoLocal: f.NoLocal,
			RetainAsPublished: f.RetainAsPublished, RetainHandling: f.RetainHandling,
		})
	}
	answer, err := l.client.Subscribe(ctx, s)
	if answer == nil {
		select {
		case <-l.ended():
			return nil, l.why()
		default:
			return nil, fmt.Errorf("subscribe: %w", err)
		}
	}
	outcomes := make([]error, len(filters))
	for i, code := range answer.Reasons[:min(len(filters), len(answer.Reasons))] {
		if c := packet.Code(code); c.Failed() {
			outcomes[i] = &Refusal{Operation: "subscribe " + filters[i].Filter, Code: c, Reason: answer.Properties.ReasonString}
		}
	}
	return outcomes, nil
}

// settle writes all PUBACKs at once. PUBRECs are the session's business: it must know
// which messages not to hand over again.
func (l *link5) settle(settlements []settlement) error {
	l.settling.Lock()
	defer l.settling.Unlock()
	if l.left {
		return nil
	}
	var answers bytes.Buffer
	for _, s := range settlements {
		answer := answer5(s)
		if answer == nil {
			if err := l.session.State.Ack(s.mqtt5); err != nil {
				return lost(err)
			}
			continue
		}
		_, _ = answer.WriteTo(&answers) // which never fails
	}
	if err := l.write(answers.Bytes()); err != nil {
		return lost(err)
	}
	l.pinger.PacketSent()
	return nil
}

// write writes whole packets.
func (l *link5) write(frames []byte) error {
	l.conn.Lock()
	defer l.conn.Unlock()
	_, err := l.conn.Write(frames)
	return err
}

func (l *link5) disconnect() {
	l.settling.Lock()
	l.left = true
	l.settling.Unlock()
	// It fails only if the connection is gone, and closes what is left of it either way.
	_ = l.client.Disconnect(&paho.Disconnect{})
	l.end(nil)
	l.waiting.Wait()
}
