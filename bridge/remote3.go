package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/penstockmq/penstock/broker/packet"
)

// bridgeBit in the protocol level tells mosquitto, and this broker, that the client is a bridge: it is not sent its own messages
// back, and the retain flag stays as it was published.
const bridgeBit = 0x80

// A remote3 is a connection with MQTT 3.1.1.
type remote3 struct {
	// Fixed when open3 returns.
	gate    *gate
	client  mqtt.Client
	present bool
	peer    peer
	timeout time.Duration
	once    sync.Once // lost, or close
}

func open3(ctx context.Context, o *options, s *stream, p peer) (remote, error) {
	r := &remote3{peer: p, timeout: o.timeout, gate: newGate(s, p, o)}
	r.client = mqtt.NewClient(options3(o, r.gate).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { r.end(plain(err)) }).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { p.arrived(incoming3(m)) }))
	token := r.client.Connect().(*mqtt.ConnectToken)
	select {
	case <-token.Done():
	case <-ctx.Done():
		s.Close()
		<-token.Done()
	}
	if err := token.Error(); err != nil {
		s.Close()
		return nil, refused3(o, token)
	}
	r.present = token.SessionPresent()
	return r, nil
}

func (r *remote3) end(err error) { r.once.Do(func() { r.peer.lost(err) }) }

func options3(o *options, c net.Conn) *mqtt.ClientOptions {
	version := uint(packet.V311)
	if o.bridgeBit {
		version |= bridgeBit
	}
	m := mqtt.NewClientOptions().
		AddBroker("tcp://remote"). // never dialled, but there must be one
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return c, nil }).
		SetProtocolVersion(version).SetStore(nothing{}).
		SetClientID(o.clientID).SetUsername(o.username).SetPassword(o.password).
		SetKeepAlive(time.Duration(o.keepAlive) * time.Second).SetPingTimeout(o.timeout).
		SetConnectTimeout(o.timeout).SetWriteTimeout(0).
		SetCleanSession(o.clean || !o.durable).SetAutoReconnect(false).SetAutoAckDisabled(true)
	if o.hasWill() {
		m.SetBinaryWill(o.stateTopic, []byte(stateDisconnected), stateQoS, true)
	}
	return m
}

// codes3 are the codes of MQTT 5 for the return codes of CONNACK (MQTT 3.1.1, table 3.1).
var codes3 = map[byte]packet.Code{
	2: packet.ClientIdentifierNotValid, 3: packet.ServerUnavailable, 4: packet.BadUserNameOrPassword, 5: packet.NotAuthorized,
}

func refused3(o *options, t *mqtt.ConnectToken) error {
	operation := "connect to " + o.target.name
	if t.ReturnCode() == 1 {
		return fmt.Errorf("%s: %w", operation, errVersion)
	}
	if code, ok := codes3[t.ReturnCode()]; ok {
		return &refusal{operation: operation, code: code}
	}
	return fmt.Errorf("%s: %w", operation, plain(t.Error()))
}

func (r *remote3) terms() terms {
	return terms{version: packet.V311, sessionPresent: r.present, receiveMaximum: 65535, qosMax: 2, retain: true}
}

func (r *remote3) publish(o *packet.Outgoing) error {
	return r.gate.stream.send(packet.AppendPublish(nil, packet.V311, o))
}

func (r *remote3) answer(t packet.Type, id uint16) error {
	return r.gate.stream.send(packet.AppendAck(nil, t, packet.V311, packet.Ack{ID: id}))
}

func (r *remote3) subscribe(ctx context.Context, filters []subscription) ([]packet.Code, error) {
	wanted := make(map[string]byte, len(filters))
	for _, f := range filters {
		wanted[f.filter] = f.qos
	}
	token := r.client.SubscribeMultiple(wanted, nil).(*mqtt.SubscribeToken)
	select {
	case <-token.Done():
	case <-ctx.Done():
		return nil, fmt.Errorf("subscribe: %w", plain(ctx.Err()))
	}
	granted := token.Result()
	if token.Error() != nil && len(granted) == 0 {
		return nil, fmt.Errorf("subscribe: %w", token.Error())
	}
	codes := make([]packet.Code, len(filters))
	for i, f := range filters {
		if codes[i] = packet.Code(granted[f.filter]); codes[i].Failed() { // [MQTT311-3.9.3-2]
			codes[i] = packet.UnspecifiedError
		}
	}
	return codes, nil
}

func (r *remote3) unsubscribe(ctx context.Context, filters []string) error {
	token := r.client.Unsubscribe(filters...)
	select {
	case <-token.Done():
		return token.Error()
	case <-ctx.Done():
		return fmt.Errorf("unsubscribe: %w", plain(ctx.Err()))
	}
}

func (r *remote3) close() {
	r.once.Do(func() {})
	r.client.Disconnect(uint(streamFarewell.Milliseconds())) // at most that long, to write DISCONNECT
	r.gate.Close()
}

// incoming3 is the message in a PUBLISH packet.
func incoming3(m mqtt.Message) *incoming {
	in := &incoming{id: m.MessageID(), dup: m.Duplicate()}
	in.Topic, in.Payload, in.QoS, in.Retain = m.Topic(), m.Payload(), m.Qos(), m.Retained()
	return in
}

var errFrame = errors.New("the other side does not speak MQTT")
