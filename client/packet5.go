package client

import (
	"io"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/penstockmq/penstock/broker/packet"
)

// connect5 is the CONNECT packet of MQTT 5.
func connect5(o *Options) *paho.Connect {
	c := &paho.Connect{
		ClientID: o.ClientID, KeepAlive: o.KeepAlive, CleanStart: o.Clean,
		Username: o.Username, UsernameFlag: o.Username != "",
		Password: []byte(o.Password), PasswordFlag: o.Password != "",
		Properties: &paho.ConnectProperties{User: user5(o.User), RequestProblemInfo: true},
	}
	if o.ReceiveMaximum > 0 {
		c.Properties.ReceiveMaximum = &o.ReceiveMaximum
	}
	if o.SessionExpiry > 0 {
		c.Properties.SessionExpiryInterval = &o.SessionExpiry
	}
	if o.Will == nil {
		return c
	}
	w, p := &o.Will.Message, &o.Will.Properties
	c.WillMessage = &paho.WillMessage{Topic: w.Topic, Payload: w.Payload, QoS: w.QoS, Retain: w.Retain}
	c.WillProperties = &paho.WillProperties{
		PayloadFormat: p.PayloadFormat, MessageExpiry: p.MessageExpiry, ContentType: p.ContentType,
		ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData, User: user5(p.User),
	}
	if o.Will.Delay > 0 {
		c.WillProperties.WillDelayInterval = &o.Will.Delay
	}
	return c
}

func user5(properties []packet.UserProperty) paho.UserProperties {
	var user paho.UserProperties
	for _, p := range properties {
		user.Add(p.Key, p.Value)
	}
	return user
}

// publish5 is the PUBLISH packet of a message.
func publish5(m *Message) *packets.Publish {
	p := &m.Properties
	properties := &packets.Properties{
		PayloadFormat: p.PayloadFormat, MessageExpiry: p.MessageExpiry, ContentType: p.ContentType,
		ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData,
	}
	for _, u := range p.User {
		properties.User = append(properties.User, packets.User{Key: u.Key, Value: u.Value})
	}
	return &packets.Publish{Topic: m.Topic, Payload: m.Payload, QoS: m.QoS, Retain: m.Retain, Properties: properties}
}

// answer5 is the PUBACK of a message, or the PUBREC that refuses it; nil for the PUBREC that takes it.
func answer5(s settlement) io.WriterTo {
	properties := &packets.Properties{}
	code := byte(packet.Success)
	if s.refusal != nil {
		code = byte(s.refusal.code)
		properties.ReasonString = s.refusal.reason
		for _, u := range s.refusal.user {
			properties.User = append(properties.User, packets.User{Key: u.Key, Value: u.Value})
		}
	}
	switch {
	case s.mqtt5.QoS == 1:
		return &packets.Puback{PacketID: s.mqtt5.PacketID, ReasonCode: code, Properties: properties}
	case s.refusal != nil:
		return &packets.Pubrec{PacketID: s.mqtt5.PacketID, ReasonCode: code, Properties: properties}
	}
	return nil
}

// received5 is the message in a PUBLISH packet.
func received5(p *packets.Publish) *Message {
	m := &Message{Topic: p.Topic, Payload: p.Payload, QoS: p.QoS, Retain: p.Retain, PacketID: p.PacketID}
	if p.Properties == nil {
		return m
	}
	m.Properties = Properties{
		PayloadFormat: p.Properties.PayloadFormat, MessageExpiry: p.Properties.MessageExpiry,
		ContentType: p.Properties.ContentType, ResponseTopic: p.Properties.ResponseTopic,
		CorrelationData: p.Properties.CorrelationData,
		SubscriptionID:  p.Properties.SubscriptionIdentifier, TopicAlias: p.Properties.TopicAlias,
	}
	for _, u := range p.Properties.User {
		m.Properties.User = append(m.Properties.User, packet.UserProperty{Key: u.Key, Value: u.Value})
	}
	return m
}
