package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// A jsonMessage is a message as mosquitto_sub prints it for %j.
type jsonMessage struct {
	Time       string          `json:"tst"`
	Topic      string          `json:"topic"`
	QoS        byte            `json:"qos"`
	Retain     int             `json:"retain"`
	PayloadLen int             `json:"payloadlen"`
	PacketID   uint16          `json:"mid,omitempty"`
	Properties *jsonProperties `json:"properties,omitempty"`
	Payload    any             `json:"payload"` // null if it is empty
	Base64     []byte          `json:"payload-base64,omitempty"`
}

type jsonProperties struct {
	PayloadFormat   *byte          `json:"payload-format-indicator,omitempty"`
	MessageExpiry   *uint32        `json:"message-expiry-interval,omitempty"`
	ContentType     string         `json:"content-type,omitempty"`
	ResponseTopic   string         `json:"response-topic,omitempty"`
	CorrelationData string         `json:"correlation-data,omitempty"`
	Correlation64   []byte         `json:"correlation-data-base64,omitempty"`
	SubscriptionID  *int           `json:"subscription-identifier,omitempty"`
	TopicAlias      *uint16        `json:"topic-alias,omitempty"`
	User            map[string]any `json:"user-properties,omitempty"` // a list where a key repeats
}

// appendJSON appends the message as one line of JSON. With embed its payload must be JSON and becomes part of it.
func appendJSON(dst []byte, m *Message, at time.Time, embed bool) ([]byte, error) {
	j := newJSON(m, at)
	j.PacketID = m.PacketID
	switch {
	case len(m.Payload) == 0:
	case !embed:
		j.Payload = string(m.Payload)
	case json.Valid(m.Payload):
		j.Payload = json.RawMessage(m.Payload)
	default:
		return dst, fmt.Errorf("the payload of a message to %s is no JSON", m.Topic)
	}
	return j.append(dst)
}

// AppendRecord appends the message as one line of JSON that has all of it, without the end of the line. What is no
// UTF-8 stands there as base64: payload-base64 and correlation-data-base64.
func AppendRecord(dst []byte, m *Message, at time.Time) ([]byte, error) {
	j := newJSON(m, at)
	if utf8.Valid(m.Payload) {
		j.Payload = string(m.Payload)
	} else {
		j.Base64 = m.Payload
	}
	if data := m.Properties.CorrelationData; !utf8.Valid(data) {
		j.Properties.CorrelationData, j.Properties.Correlation64 = "", data
	}
	return j.append(dst)
}

func newJSON(m *Message, at time.Time) *jsonMessage {
	return &jsonMessage{
		Time: at.Format("2006-01-02T15:04:05.000000-0700"), Topic: m.Topic, QoS: m.QoS,
		Retain: bit(m.Retain), PayloadLen: len(m.Payload), Properties: propertiesJSON(&m.Properties),
	}
}

func (j *jsonMessage) append(dst []byte) ([]byte, error) {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(j); err != nil {
		return dst, fmt.Errorf("a message to %s as JSON: %w", j.Topic, err)
	}
	return append(dst, bytes.TrimSuffix(line.Bytes(), []byte("\n"))...), nil
}

func propertiesJSON(p *Properties) *jsonProperties {
	j := &jsonProperties{
		PayloadFormat: p.PayloadFormat, MessageExpiry: p.MessageExpiry, ContentType: p.ContentType,
		ResponseTopic: p.ResponseTopic, CorrelationData: string(p.CorrelationData),
		SubscriptionID: p.SubscriptionID, TopicAlias: p.TopicAlias,
	}
	for _, u := range p.User {
		if j.User == nil {
			j.User = map[string]any{}
		}
		switch old := j.User[u.Key].(type) {
		case nil:
			j.User[u.Key] = u.Value
		case string:
			j.User[u.Key] = []string{old, u.Value}
		case []string:
			j.User[u.Key] = append(old, u.Value)
		}
	}
	if j.PayloadFormat == nil && j.MessageExpiry == nil && j.ContentType == "" && j.ResponseTopic == "" &&
		j.CorrelationData == "" && j.SubscriptionID == nil && j.TopicAlias == nil && j.User == nil {
		return nil
	}
	return j
}
