package clients

import (
	"context"
	"net"

	"github.com/eclipse/paho.golang/paho"
)

// A pahoGo5 is a client of paho.golang, MQTT 5.
type pahoGo5 struct {
	inbox  chan message
	conn   net.Conn
	client *paho.Client
}

func newPahoGo5() *pahoGo5 { return &pahoGo5{inbox: make(chan message, inboxMax)} }

func (p *pahoGo5) connect(o options) (bool, error) {
	nc, err := net.DialTimeout("tcp", brokerTCP, patience)
	if err != nil {
		return false, err
	}
	p.conn = nc
	p.client = paho.NewClient(paho.ClientConfig{
		Conn: nc, PacketTimeout: patience,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){p.receive},
	})
	connect := &paho.Connect{
		ClientID: o.ID, CleanStart: o.Clean, KeepAlive: 60,
		Properties: &paho.ConnectProperties{SessionExpiryInterval: &o.Expiry, RequestProblemInfo: true},
	}
	if o.Will != nil {
		connect.WillMessage = &paho.WillMessage{
			Topic: o.Will.Topic, Payload: o.Will.Payload, QoS: o.Will.QoS, Retain: o.Will.Retain,
		}
		connect.WillProperties = &paho.WillProperties{WillDelayInterval: &o.WillDelay}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	connack, err := p.client.Connect(ctx, connect)
	return connack != nil && connack.SessionPresent, err
}

func (p *pahoGo5) receive(r paho.PublishReceived) (bool, error) {
	m := message{Topic: r.Packet.Topic, Payload: r.Packet.Payload, QoS: r.Packet.QoS, Retain: r.Packet.Retain}
	if from := r.Packet.Properties; from != nil {
		m.Properties = &properties{
			ContentType: from.ContentType, ResponseTopic: from.ResponseTopic, CorrelationData: from.CorrelationData,
			PayloadFormat: value(from.PayloadFormat), Expiry: value(from.MessageExpiry), SubscriptionID: value(from.SubscriptionIdentifier),
		}
		for _, u := range from.User {
			m.Properties.User = append(m.Properties.User, [2]string{u.Key, u.Value})
		}
	}
	p.inbox <- m
	return true, nil
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func (p *pahoGo5) subscribe(s subscription) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	subscribe := &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: s.Filter, QoS: s.QoS}}}
	if s.ID != 0 {
		subscribe.Properties = &paho.SubscribeProperties{SubscriptionIdentifier: &s.ID}
	}
	_, err := p.client.Subscribe(ctx, subscribe)
	return err
}

func (p *pahoGo5) unsubscribe(filter string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := p.client.Unsubscribe(ctx, &paho.Unsubscribe{Topics: []string{filter}})
	return err
}

func (p *pahoGo5) publish(m message) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	publish := &paho.Publish{Topic: m.Topic, Payload: m.Payload, QoS: m.QoS, Retain: m.Retain}
	if from := m.Properties; from != nil {
		publish.Properties = &paho.PublishProperties{
			ContentType: from.ContentType, ResponseTopic: from.ResponseTopic, CorrelationData: from.CorrelationData,
			PayloadFormat: &from.PayloadFormat, MessageExpiry: &from.Expiry,
		}
		for _, u := range from.User {
			publish.Properties.User.Add(u[0], u[1])
		}
	}
	_, err := p.client.Publish(ctx, publish)
	return err
}

func (p *pahoGo5) messages() <-chan message { return p.inbox }

func (p *pahoGo5) disconnect() error { return p.client.Disconnect(&paho.Disconnect{}) }

func (p *pahoGo5) abort() { _ = p.conn.Close() }
