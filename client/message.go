package client

import "github.com/penstockmq/penstock/broker/packet"

// A Message is what is published or received.
type Message struct {
	Topic      string
	Payload    []byte
	QoS        byte
	Retain     bool
	PacketID   uint16 // of a received message with QoS 1 or 2
	Properties Properties
}

// Properties are what MQTT 5 can add to a message. Zero values are not sent.
type Properties struct {
	PayloadFormat   *byte   // 1 says that the payload is UTF-8
	MessageExpiry   *uint32 // seconds
	ContentType     string
	ResponseTopic   string
	CorrelationData []byte
	User            []packet.UserProperty
	SubscriptionID  *int    // received only
	TopicAlias      *uint16 // received only
}

// A Will is the message a broker publishes when the client is gone without a word.
type Will struct {
	Message
	Delay uint32 // seconds, MQTT 5
}
