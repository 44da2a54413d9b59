package clients

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A client is one connection made with somebody's library. Its methods wait for the broker's answer.
type client interface {
	connect(o options) (present bool, err error)
	subscribe(s subscription) error
	unsubscribe(filter string) error
	publish(m message) error
	// messages are those received, in order. It has room for all a scenario sends.
	messages() <-chan message
	// disconnect ends the connection with a DISCONNECT packet, abort without.
	disconnect() error
	abort()
}

// inboxMax is how many messages a client holds that the scenario has not taken.
const inboxMax = 10_000

// The words of client. They are also the JSON that foreign processes speak.
type (
	options struct {
		ID        string   `json:"id"`
		Clean     bool     `json:"clean"`
		Expiry    uint32   `json:"expiry"` // MQTT 5; older versions keep a session that is not clean
		Will      *message `json:"will,omitempty"`
		WillDelay uint32   `json:"will_delay,omitempty"`
	}
	subscription struct {
		Filter string `json:"filter"`
		QoS    byte   `json:"qos"`
		ID     int    `json:"subscription_id,omitempty"` // MQTT 5
	}
	message struct {
		Topic      string      `json:"topic"`
		Payload    []byte      `json:"payload"`
		QoS        byte        `json:"qos"`
		Retain     bool        `json:"retain"`
		Properties *properties `json:"properties,omitempty"` // MQTT 5
	}
	properties struct {
		ContentType     string      `json:"content_type,omitempty"`
		ResponseTopic   string      `json:"response_topic,omitempty"`
		CorrelationData []byte      `json:"correlation_data,omitempty"`
		PayloadFormat   byte        `json:"payload_format,omitempty"`
		Expiry          uint32      `json:"expiry,omitempty"`
		User            [][2]string `json:"user,omitempty"`
		SubscriptionID  int         `json:"subscription_id,omitempty"` // only received
	}
)

func (m message) String() string {
	text := fmt.Sprintf("%s %q QoS %d", m.Topic, m.Payload, m.QoS)
	if m.Retain {
		text += " retain"
	}
	if m.Properties != nil {
		text += fmt.Sprintf(" %+v", *m.Properties)
	}
	return text
}

// A flavour is a library with a version of the protocol and a transport.
type flavour struct {
	name    string
	version byte // 3 (MQTT 3.1), 4 (3.1.1) or 5
	make    func(t *testing.T) client
}

// flavours are all that the scenarios run with.
func flavours() []flavour {
	var all []flavour
	for _, version := range []byte{3, 4} {
		all = append(all,
			flavour{fmt.Sprintf("paho.mqtt.golang v%d", version), version, func(*testing.T) client { return newPahoGo("tcp", version) }})
	}
	all = append(all,
		flavour{"paho.mqtt.golang v4 ws", 4, func(*testing.T) client { return newPahoGo("ws", 4) }},
		flavour{"paho.golang v5", 5, func(*testing.T) client { return newPahoGo5() }})
	for _, version := range []byte{3, 4, 5} {
		all = append(all,
			flavour{fmt.Sprintf("paho python v%d", version), version, func(t *testing.T) client { return newPython(t, version, "tcp") }},
			flavour{fmt.Sprintf("MQTT.js v%d", version), version, func(t *testing.T) client { return newJavaScript(t, version, "mqtt") }})
	}
	return append(all,
		flavour{"paho python v5 ws", 5, func(t *testing.T) client { return newPython(t, 5, "websockets") }},
		flavour{"MQTT.js v4 ws", 4, func(t *testing.T) client { return newJavaScript(t, 4, "ws") }},
		flavour{"MQTT.js v5 ws", 5, func(t *testing.T) client { return newJavaScript(t, 5, "ws") }})
}

// A stage is where a scenario plays: one flavour, and names that no other test uses.
type stage struct {
	*testing.T
	flavour
	prefix string // of topics and client identifiers; below 23 bytes with what follows [MQTT311-3.1.3-5]
}

// everyFlavour plays a scenario with every flavour that knows at least the given version.
func everyFlavour(t *testing.T, version byte, scene string, play func(s *stage)) {
	t.Helper()
	for i, f := range flavours() {
		if f.version < version {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			play(&stage{t, f, fmt.Sprintf("%s%d", scene, i)})
		})
	}
}

// id is a client identifier.
func (s *stage) id(who string) string { return s.prefix + who }

// topic is a topic name or filter.
func (s *stage) topic(path string) string { return s.prefix + "/" + path }

// join connects a new client.
func (s *stage) join(o options) (c client, present bool) {
	s.Helper()
	c = s.make(s.T)
	o.ID = s.id(o.ID)
	present, err := c.connect(o)
	if err != nil {
		s.Fatalf("connect %s: %v", o.ID, err)
	}
	s.Cleanup(c.abort)
	return c, present
}

// clean connects a new client with a session that ends with its connection.
func (s *stage) clean(who string) client {
	s.Helper()
	c, present := s.join(options{ID: who, Clean: true})
	if present {
		s.Errorf("%s: clean, but a session was present", who)
	}
	return c
}

// must ends the scenario on an error.
func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// expect wants exactly these messages next; properties are not compared.
func (s *stage) expect(c client, want ...message) {
	s.Helper()
	for _, w := range want {
		got := s.next(c, w.String())
		got.Properties, w.Properties = nil, nil
		if got.String() != w.String() {
			s.Fatalf("received %.200s, want %.200s", got, w)
		}
	}
}

// next is the next message.
func (s *stage) next(c client, want string) message {
	s.Helper()
	select {
	case m := <-c.messages():
		return m
	case <-time.After(patience):
		s.Fatalf("received nothing, want %.200s", want)
		return message{}
	}
}

// expectNothing sends a marker through a topic that c is subscribed to, from the client that would have sent the
// unwanted, and wants to see the marker first.
func (s *stage) expectNothing(c, from client, topic string) {
	s.Helper()
	marker := message{Topic: topic, Payload: []byte("marker")}
	s.must(from.publish(marker))
	s.expect(c, marker)
}

// text makes a message with a payload.
func text(topic, payload string, qos byte) message {
	return message{Topic: topic, Payload: []byte(payload), QoS: qos}
}

// numbered makes n messages.
func numbered(topic string, n int, qos byte) []message {
	all := make([]message, n)
	for i := range all {
		all[i] = text(topic, strings.Repeat("n", i)+fmt.Sprint(i), qos)
	}
	return all
}
