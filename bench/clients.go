package bench

import (
	"math"
	"strconv"
)

// newCommon is what all clients of a run have in common.
func newCommon(o *Options, t *traffic) common {
	return common{traffic: t, version: o.Version, qos: o.QoS, username: o.Username, password: o.Password}
}

// newSubscribers makes the clients that receive.
func newSubscribers(o *Options, p *plan, t *traffic) []*client {
	var clients []*client
	for i, x := range p.subscribers {
		c := &client{
			common: newCommon(o, t), id: p.clientID("s", i), durable: o.Durable,
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
			common: newCommon(o, t), id: p.clientID("h", i), durable: o.Durable,
			filters: h.to - h.from, filter: func(n int) string { return p.held(h.from + n) },
		})
	}
	return clients
}

// newKeepers makes the clients that publish what is retained.
func newKeepers(o *Options, p *plan, t *traffic) []*client {
	var clients []*client
	for i, k := range p.keepers {
		clients = append(clients, &client{
			common: newCommon(o, t), id: p.clientID("k", i),
			keeper: &keeper{count: k.to - k.from, topic: func(n int) string { return p.kept(k.from + n) }, payload: make([]byte, o.Size)},
		})
	}
	return clients
}

// newPublishers makes the clients that send, and enters them in the traffic.
func newPublishers(o *Options, p *plan, t *traffic) []*client {
	var clients []*client
	for i, route := range p.publishers {
		pub := &publisher{
			index: i, stamp: newStamp(o, header{run: p.run, publisher: uint32(i)}, route.topic), copies: route.copies, missing: make([]uint32, o.Window),
			limit: math.MaxUint64,
		}
		if o.QoS > 0 {
			pub.acks = 1
		}
		if o.Scenario == Bridge {
			plain := *o
			plain.QoS = 0
			pub.probe = newStamp(&plain, header{run: p.run, publisher: uint32(i)}, route.topic)
		}
		if o.Durable && o.QoS > 0 {
			pub.begun = make([]int64, o.Window)
		}
		t.publishers = append(t.publishers, pub)
		clients = append(clients, &client{
			common: newCommon(o, t), id: p.clientID("p", i), durable: o.Durable, publisher: pub,
		})
	}
	return clients
}

// clientID is at most 23 characters long, of letters and digits, which any broker must take [MQTT311-3.1.3-5].
func (p *plan) clientID(role string, i int) string {
	return p.token + role + strconv.Itoa(i)
}
