package bench

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// pair is a publisher and its subscriber without sockets.
func pair(t *testing.T, o Options) (tr *traffic, pub, sub *client) {
	t.Helper()
	o.Clients = 1
	p, err := newPlan(&o)
	if err != nil {
		t.Fatal(err)
	}
	tr = newTraffic(&o, p)
	tr.sending = true
	sub = newSubscribers(&o, p, tr)[0]
	pub = newPublishers(&o, p, tr)[0]
	return tr, pub, sub
}

// fed hands bytes to c one by one, as the worst network would, and returns the answers.
func fed(t *testing.T, c *client, in []byte) []byte {
	t.Helper()
	var partial, answers []byte
	for _, b := range in {
		rest, out, err := c.feed(append(partial, b), answers)
		if err != nil {
			t.Fatal(err)
		}
		partial, answers = append([]byte(nil), rest...), out
	}
	if len(partial) > 0 {
		t.Fatalf("left over: %#x", partial)
	}
	return answers
}

func equalBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got %#x, want %#x", what, got, want)
	}
}

func connack(t *testing.T, version byte, properties packets.Properties) []byte {
	t.Helper()
	p := packets.Packet{
		ProtocolVersion: version, Properties: properties, FixedHeader: packets.FixedHeader{Type: packets.Connack},
		Mods: packets.Mods{AllowResponseInfo: true},
	}
	var b bytes.Buffer
	if err := p.ConnackEncode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func suback(t *testing.T, version byte, codes ...byte) []byte {
	t.Helper()
	p := packets.Packet{
		ProtocolVersion: version, PacketID: 1, ReasonCodes: codes, FixedHeader: packets.FixedHeader{Type: packets.Suback},
		Properties: packets.Properties{ReasonString: "fine"},
	}
	var b bytes.Buffer
	if err := p.SubackEncode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A client is ready when its subscriptions are acknowledged; one without is when it is connected.
func TestClientBecomesReady(t *testing.T) {
	versions(t, func(t *testing.T, version byte) {
		o := Default(Pairs)
		o.Version, o.QoS = version, 1
		tr, pub, sub := pair(t, o)
		fed(t, pub, connack(t, version, packets.Properties{}))
		if !pub.ready || sub.ready || tr.ready != 1 {
			t.Errorf("publisher ready %v, subscriber ready %v, %d in all", pub.ready, sub.ready, tr.ready)
		}
		want := appendSubscribe(nil, version, 1, 1, []string{sub.filter(0)})
		equalBytes(t, "answer to CONNACK", fed(t, sub, connack(t, version, packets.Properties{})), want)
		equalBytes(t, "answer to SUBACK", fed(t, sub, suback(t, version, 1)), nil)
		if !sub.ready || tr.ready != 2 || tr.subscribed != 1 {
			t.Errorf("subscriber ready %v, %d in all, %d subscriptions", sub.ready, tr.ready, tr.subscribed)
		}
	})
}

// Many subscriptions go in several packets, each after the answer to the last.
func TestHolderSubscribesInSteps(t *testing.T) {
	o := Default(Subs)
	o.Subscriptions, o.Holders = 2*filtersMax+1, 1
	p, err := newPlan(&o)
	if err != nil {
		t.Fatal(err)
	}
	tr := new(traffic)
	h := newHolders(&o, p, tr)[0]
	answer := fed(t, h, connack(t, 4, packets.Properties{}))
	seen := make(map[string]bool)
	for _, n := range []int{filtersMax, filtersMax, 1} {
		filters := decode(t, 4, answer).Filters
		if len(filters) != n || h.ready {
			t.Fatalf("%d filters, want %d; ready %v", len(filters), n, h.ready)
		}
		for _, f := range filters {
			seen[f.Filter] = true
		}
		answer = fed(t, h, suback(t, 4, make([]byte, n)...))
	}
	if !h.ready || len(seen) != o.Subscriptions || tr.subscribed != o.Subscriptions {
		t.Errorf("ready %v, %d filters, %d acknowledged", h.ready, len(seen), tr.subscribed)
	}
}

// A durable client begins with a session that lasts, resumes it without subscribing again, notes when it is gone, and ends it.
func TestDurableClient(t *testing.T) {
	versions(t, func(t *testing.T, version byte) {
		o := Default(Pairs)
		o.Version, o.QoS, o.Durable = version, 1, true
		tr, _, sub := pair(t, o)
		connects := func(clean bool) {
			t.Helper()
			p := decode(t, version, sub.connect(nil))
			if p.Connect.Clean != clean || (p.Properties.SessionExpiryInterval > 0) != (version == 5 && !clean) {
				t.Errorf("clean %v, expiry interval %d", p.Connect.Clean, p.Properties.SessionExpiryInterval)
			}
		}
		present := connack(t, version, packets.Properties{})
		present[2] |= sessionPresent
		connects(false)
		fed(t, sub, connack(t, version, packets.Properties{}))
		fed(t, sub, suback(t, version, 1))
		for _, step := range []struct {
			answer    []byte
			forgotten int
		}{{present, 0}, {connack(t, version, packets.Properties{}), 1}} {
			sub.leave(resume)
			if tr.ready != 0 {
				t.Error("ready without a connection")
			}
			connects(false)
			equalBytes(t, "answer to CONNACK", fed(t, sub, step.answer), nil)
			if !sub.ready || tr.ready != 1 || tr.forgotten != step.forgotten {
				t.Errorf("ready %v, %d in all, %d forgotten", sub.ready, tr.ready, tr.forgotten)
			}
		}
		sub.leave(forget)
		connects(true)
		fed(t, sub, connack(t, version, packets.Properties{}))
		if !sub.ready || tr.forgotten != 1 {
			t.Errorf("ready %v, %d forgotten", sub.ready, tr.forgotten)
		}
	})
}

// Each QoS is answered as its exchange demands [MQTT5-4.3.2-3, 4.3.3-4, 4.3.3-8], and settles the message at its end.
func TestExchanges(t *testing.T) {
	const id = 1
	for qos, test := range []struct{ fromSubscriber, subscriberEnds, fromPublisher, publisherEnds []byte }{
		0: {},
		1: {
			fromSubscriber: appendAck(nil, pubackByte, id),
			publisherEnds:  appendAck(nil, pubackByte, id),
		},
		2: {
			fromSubscriber: appendAck(nil, pubrecByte, id), subscriberEnds: appendAck(nil, pubcompByte, id),
			fromPublisher: appendAck(nil, pubrelByte, id), publisherEnds: appendAck(nil, pubcompByte, id),
		},
	} {
		versions(t, func(t *testing.T, version byte) {
			o := Default(Pairs)
			o.Version, o.QoS, o.Window = version, byte(qos), 1
			tr, pub, sub := pair(t, o)
			message := tr.fill(pub.publisher, nil)
			equalBytes(t, "subscriber's answer to PUBLISH", fed(t, sub, message), test.fromSubscriber)
			if qos == 2 {
				equalBytes(t, "subscriber's answer to PUBREL", fed(t, sub, appendAck(nil, pubrelByte, id)), test.subscriberEnds)
				equalBytes(t, "publisher's answer to PUBREC", fed(t, pub, appendAck(nil, pubrecByte, id)), test.fromPublisher)
			}
			if qos > 0 && tr.settled != 0 {
				t.Error("settled before the acknowledgement")
			}
			fed(t, pub, test.publisherEnds)
			if tr.settled != 1 || tr.delivered != 1 {
				t.Errorf("settled %d, delivered %d", tr.settled, tr.delivered)
			}
		})
	}
}

// The window respects what the broker takes [MQTT5-3.3.4-9], which every other property may surround.
func TestReceiveMaximum(t *testing.T) {
	all := packets.Properties{
		ReceiveMaximum: 7, SessionExpiryIntervalFlag: true, SessionExpiryInterval: 1, MaximumQosFlag: true, MaximumQos: 1,
		RetainAvailableFlag: true, MaximumPacketSize: 1 << 20, AssignedClientID: "id", TopicAliasMaximum: 1, ReasonString: "r",
		User: []packets.UserProperty{{Key: "k", Val: "v"}}, WildcardSubAvailableFlag: true, SubIDAvailableFlag: true,
		SharedSubAvailableFlag: true, ServerKeepAliveFlag: true, ServerKeepAlive: 1, ResponseInfo: "i", ServerReference: "s",
		AuthenticationMethod: "m", AuthenticationData: []byte("d"),
	}
	without := all
	without.ReceiveMaximum = 0
	for _, test := range []struct {
		properties packets.Properties
		qos        byte
		window     int
	}{{all, 1, 7}, {all, 2, 7}, {all, 0, 50}, {without, 1, 50}, {packets.Properties{ReceiveMaximum: 1000}, 1, 50}} {
		o := Default(Pairs)
		o.Version, o.QoS = 5, test.qos
		tr, pub, _ := pair(t, o)
		fed(t, pub, connack(t, 5, test.properties))
		tr.fill(pub.publisher, nil)
		if pub.publisher.sent != uint64(test.window) {
			t.Errorf("QoS %d, receive maximum %d: sent %d, want %d", test.qos, test.properties.ReceiveMaximum, pub.publisher.sent, test.window)
		}
	}
}

// What a broker must not send ends the run with a reason.
func TestClientRefuses(t *testing.T) {
	_, _, sub := pair(t, Default(Pairs))
	run := sub.traffic.run
	foreign := Options{Version: 4, Size: 64}
	stamped := func(h header) []byte {
		s := newStamp(&foreign, h, "t")
		return s.append(nil, 0, h.sequence, 0)
	}
	for _, test := range []struct {
		name string
		in   []byte
		says string
	}{
		{"CONNACK with a refusal", []byte{0x20, 2, 0, 5}, "refuses the connection"},
		{"SUBACK with a failure", []byte{0x90, 3, 0, 1, 0x80}, "0x80"},
		{"SUBACK too many", []byte{0x90, 4, 0, 1, 0, 0}, "SUBACK"},
		{"message of another publisher", stamped(header{run: run, publisher: 9, sequence: 1}), "no one's"},
		{"message not sent yet", stamped(header{run: run, sequence: 1}), "no one's"},
		{"message of another run", stamped(header{run: run + 1, sequence: 1}), "no one's"},
		{"probe that nobody sent", stamped(header{run: run}), "no one's"},
		{"message without a header", []byte{0x30, 5, 0, 1, 't', 1, 2}, "no one's"},
		{"topic beyond the packet", []byte{0x30, 2, 0, 9}, "no one's"},
		{"acknowledgement of nothing sent", []byte{0x40, 2, 0, 1}, "not used"},
		{"acknowledgement without identifier", []byte{0x40, 1, 0}, "1 bytes"},
		{"refused message", []byte{0x40, 3, 0, 1, 0x97}, "0x97"},
		{"DISCONNECT", []byte{0xE0, 1, 0x8B}, "0x8b"},
		{"SUBSCRIBE", []byte{0x82, 0}, "starts with 0x82"},
		{"length of five bytes", []byte{0x30, 0x80, 0x80, 0x80, 0x80, 1}, errRemainingLength.Error()},
	} {
		t.Run(test.name, func(t *testing.T) {
			sub.asked, sub.confirmed = 1, 0
			_, _, err := sub.feed(test.in, nil)
			if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), sub.id) {
				t.Errorf("error %v, want the client's name and %q", err, test.says)
			}
		})
	}
}

// No bytes from a broker make a client panic.
func FuzzFeed(f *testing.F) {
	f.Add(byte(5), []byte{0x20, 6, 0, 0, 3, 0x21, 0, 7})
	f.Add(byte(5), []byte{0x20, 9, 0, 0, 6, 0x26, 0, 1, 'k', 0, 1})
	f.Add(byte(4), []byte{0x90, 3, 0, 1, 0})
	f.Add(byte(4), []byte{0x32, 2, 0, 1})
	f.Add(byte(5), []byte{0x34, 6, 0, 1, 't', 0, 1, 0xFF})
	f.Fuzz(func(t *testing.T, version byte, in []byte) {
		o := Default(Pairs)
		o.Version, o.QoS = 4+version%2, 1
		tr, pub, sub := pair(t, o)
		tr.fill(pub.publisher, nil)
		for _, c := range []*client{pub, sub} {
			rest, _, err := c.feed(in, nil)
			if err == nil && len(rest) > len(in) {
				t.Errorf("%d bytes left over of %d", len(rest), len(in))
			}
		}
	})
}
