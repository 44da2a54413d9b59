package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/penstockmq/penstock/broker/packet"
)

// A link3 is a connection with MQTT 3.1 or 3.1.1.
type link3 struct {
	*ending
	client  mqtt.Client
	waiting sync.WaitGroup // for acknowledgements
}

func open3(ctx context.Context, o *Options, s *state, r receiver) (link, error) {
	socket, err := o.Endpoint.Dial(ctx, o.Timeout)
	if err != nil {
		return nil, notConnected(&o.Endpoint, err)
	}
	l := &link3{ending: newEnding()}
	l.client = mqtt.NewClient(options3(socket, o).
		SetStore(s.mqtt3).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { l.end(lost(err)) }).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { hand3(m, r) }))
	token := l.client.Connect().(*mqtt.ConnectToken)
	select {
	case <-token.Done():
	case <-ctx.Done():
		l.client.Disconnect(0)
		return nil, notConnected(&o.Endpoint, ctx.Err())
	}
	if token.Error() != nil {
		return nil, refused3(o, token)
	}
	return l, nil
}

// hand3 hands a message over, and acknowledges it if it was taken.
func hand3(m mqtt.Message, r receiver) {
	if !r.take(&Message{
		Topic: m.Topic(), Payload: m.Payload(), QoS: m.Qos(), Retain: m.Retained(), PacketID: m.MessageID(),
	}, receipt{mqtt3: m}) {
		return
	}
	m.Ack()
	r.taken()
}

func options3(socket net.Conn, o *Options) *mqtt.ClientOptions {
	m := mqtt.NewClientOptions().
		AddBroker("tcp://" + o.Endpoint.Scheme). // never dialled, but there must be one
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return socket, nil }).
		SetProtocolVersion(uint(o.Version)).
		SetClientID(o.ClientID).SetUsername(o.Username).SetPassword(o.Password).
		SetKeepAlive(time.Duration(o.KeepAlive) * time.Second).SetPingTimeout(o.Timeout).
		SetConnectTimeout(o.Timeout).SetWriteTimeout(o.Timeout).
		SetCleanSession(o.Clean).SetAutoReconnect(false).SetAutoAckDisabled(true)
	if w := o.Will; w != nil {
		m.SetBinaryWill(w.Topic, w.Payload, w.QoS, w.Retain)
	}
	return m
}

// codes3 are the codes of MQTT 5 for the return codes of CONNACK (MQTT 3.1.1, table 3.1).
var codes3 = map[byte]packet.Code{
	1: packet.UnsupportedProtocolVersion, 2: packet.ClientIdentifierNotValid, 3: packet.ServerUnavailable,
	4: packet.BadUserNameOrPassword, 5: packet.NotAuthorized,
}

func refused3(o *Options, t *mqtt.ConnectToken) error {
	if code, ok := codes3[t.ReturnCode()]; ok {
		return &Refusal{Operation: opConnect, Code: code}
	}
	err := t.Error()
	if errors.Is(err, io.EOF) {
		err = errors.New("the broker closed the connection")
	}
	return notConnected(&o.Endpoint, err)
}

func (l *link3) publish(_ context.Context, m *Message) (<-chan error, error) {
	token := l.client.Publish(m.Topic, m.QoS, m.Retain, m.Payload)
	outcome := make(chan error, 1)
	l.waiting.Go(func() { outcome <- l.await(token) })
	return outcome, nil
}

// await waits for an acknowledgement or the end of the connection, whichever came first.
func (l *link3) await(token mqtt.Token) error {
	select {
	case <-token.Done():
	case <-l.ended():
		select {
		case <-token.Done():
		default:
			return l.why()
		}
	}
	return token.Error()
}

func (l *link3) subscribe(ctx context.Context, filters []Filter) ([]error, error) {
	wanted := make(map[string]byte, len(filters))
	for _, f := range filters {
		wanted[f.Filter] = f.QoS
	}
	token := l.client.SubscribeMultiple(wanted, nil).(*mqtt.SubscribeToken)
	select {
	case <-token.Done():
	case <-l.ended():
		return nil, l.why()
	case <-ctx.Done():
		return nil, fmt.Errorf("subscribe: %w", ctx.Err())
	}
	granted := token.Result()
	if token.Error() != nil && len(granted) == 0 {
		return nil, fmt.Errorf("subscribe: %w", token.Error())
	}
	outcomes := make([]error, len(filters))
	for i, f := range filters {
		if granted[f.Filter] >= 0x80 {
			outcomes[i] = &Refusal{Operation: "subscribe " + f.Filter, Code: packet.UnspecifiedError}
		}
	}
	return outcomes, nil
}

// settle acknowledges. A refusal has no packet before MQTT 5: such a message stays unacknowledged.
func (l *link3) settle(settlements []settlement) error {
	for _, s := range settlements {
		if s.refusal == nil {
			s.mqtt3.Ack() // to the connection it came from, or to nobody
		}
	}
	return nil
}

func (l *link3) disconnect() {
	l.client.Disconnect(uint(2 * farewell.Milliseconds())) // to write DISCONNECT, and for the socket to linger
	l.end(nil)
	l.waiting.Wait()
}
