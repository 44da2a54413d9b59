package clients

import (
	"errors"
	"net"
	"net/url"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

var errPatience = errors.New("no answer from the broker in time")

// A pahoGo is a client of paho.mqtt.golang, MQTT 3.1 and 3.1.1.
type pahoGo struct {
	scheme  string
	version byte
	inbox   chan message
	conn    net.Conn
	client  mqtt.Client
}

func newPahoGo(scheme string, version byte) *pahoGo {
	return &pahoGo{scheme: scheme, version: version, inbox: make(chan message, inboxMax)}
}

func (p *pahoGo) connect(o options) (bool, error) {
	broker := "tcp://" + brokerTCP
	if p.scheme == "ws" {
		broker = "ws://" + brokerWS + "/mqtt"
	}
	c := mqtt.NewClientOptions().AddBroker(broker).SetClientID(o.ID).SetProtocolVersion(uint(p.version)).
		SetCleanSession(o.Clean).SetAutoReconnect(false).SetConnectTimeout(patience).
		SetCustomOpenConnectionFn(p.open).SetDefaultPublishHandler(p.receive)
	if o.Will != nil {
		c.SetBinaryWill(o.Will.Topic, o.Will.Payload, o.Will.QoS, o.Will.Retain)
	}
	p.client = mqtt.NewClient(c)
	token := p.client.Connect()
	err := await(token)
	return token.(*mqtt.ConnectToken).SessionPresent(), err
}

// open keeps the connection for abort.
func (p *pahoGo) open(u *url.URL, o mqtt.ClientOptions) (nc net.Conn, err error) {
	if p.scheme == "ws" {
		nc, err = mqtt.NewWebsocket(u.String(), nil, patience, nil, o.WebsocketOptions)
	} else {
		nc, err = net.DialTimeout("tcp", u.Host, patience)
	}
	p.conn = nc
	return nc, err
}

func (p *pahoGo) receive(_ mqtt.Client, m mqtt.Message) {
	p.inbox <- message{Topic: m.Topic(), Payload: m.Payload(), QoS: m.Qos(), Retain: m.Retained()}
}

func (p *pahoGo) subscribe(s subscription) error {
	return await(p.client.Subscribe(s.Filter, s.QoS, nil))
}

func (p *pahoGo) unsubscribe(filter string) error { return await(p.client.Unsubscribe(filter)) }

func (p *pahoGo) publish(m message) error {
	return await(p.client.Publish(m.Topic, m.QoS, m.Retain, m.Payload))
}

func (p *pahoGo) messages() <-chan message { return p.inbox }

func (p *pahoGo) disconnect() error {
	p.client.Disconnect(uint(time.Second.Milliseconds()))
	return nil
}

func (p *pahoGo) abort() { _ = p.conn.Close() }

func await(token mqtt.Token) error {
	if !token.WaitTimeout(patience) {
		return errPatience
	}
	return token.Error()
}
