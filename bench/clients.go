package bench

import (
	"math"
	"strconv"
)

// newSubscribers makes the clients that receive.
func newSubscribers(o *Options, p *plan, t *traffic) []*client {
	var clients []*client
	for i, x := range p.subscribers {
		c := &client{
			traffic: t, id: p.clientID("s", i), version: o.Version, qos: o.QoS, durable: o.Durable,
			filters: 1, filter: func(int) string { return x.filter },
		}
		if x.filter == "" {
			c.filters, c.filter = x.count, func(n int) string { return p.topic(x.first + n) }
		}
		if x.count > 0 {
			c.subscriber = &subscriber{first: x.first, seen: make([]history, x.count), partial: x.partial}
		}
		clients = append(clients, c)
	}
	return clients
}

// newHolders makes the clients that hold subscriptions which match nothing.
func newHolders(o *Options, p *plan, t *traffic) []*client {
	var clients []*client
	for i, h := range p.holders {
		clients = append(clients, &client{
			traffic: t, id: p.clientID("h", i), version: o.Version, qos: o.QoS, durable: o.Durable,
			filters: h.to - h.from, filter: func(n int) string { return p.held(h.from + n) },
		})
	}
	return clients
}

// newPublishers makes the clients that send, and enters them in the traffic.
func newPublishers(o *Options, p *plan, t *traffic) []*client {
	var clients []*client
	for i, route := range p.publishers {
		pub := &publisher{
			index: i, stamp: newStamp(o, uint32(i), route.topic), copies: route.copies, missing: make([]uint32, o.Window),
			limit: math.MaxUint64,
		}
		if o.QoS > 0 {
			pub.acks = 1
		}
		if o.Durable && o.QoS > 0 {
			pub.begun = make([]int64, o.Window)
		}
		t.publishers = append(t.publishers, pub)
		clients = append(clients, &client{
			traffic: t, id: p.clientID("p", i), version: o.Version, qos: o.QoS, durable: o.Durable, publisher: pub,
		})
	}
	return clients
}

// clientID is at most 23 characters long, of letters and digits, which any broker must take [MQTT311-3.1.3-5].
func (p *plan) clientID(role string, i int) string {
	return p.token + role + strconv.Itoa(i)
}
