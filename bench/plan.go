package bench

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
)

// A plan is a scenario spelled out: who publishes where and who subscribes to what.
type plan struct {
	token       string // tells the run's clients and topics from another's
	root        string // topic level above all topics of the run
	publishers  []route
	subscribers []interest
	holders     []holding
}

// A route is what one publisher does.
type route struct {
	topic  string
	copies uint32 // deliveries of each message
}

// An interest is what one subscriber expects: messages of count publishers from first on. With count 0 none.
type interest struct {
	filter string // empty for a filter for each of the publishers' topics
	first  int
	count  int
	// partial is set where another subscriber may get the message instead, so that a number that is missing says nothing.
	partial bool
}

// A holding is a connection that holds subscriptions number from to below to, which match nothing.
type holding struct{ from, to int }

func newPlan(o *Options) (*plan, error) {
	var token [4]byte
	if _, err := rand.Read(token[:]); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	p := &plan{token: hex.EncodeToString(token[:])}
	p.root = "bench/" + p.token
	switch o.Scenario {
	case FanOut:
		p.publish(1, uint32(o.Subscribers))
		p.subscribe(o.Subscribers, interest{filter: p.topic(0), count: 1})
	case FanIn:
		p.publish(o.Clients, uint32(o.Subscribers))
		p.subscribe(o.Subscribers, interest{filter: p.root + "/+", count: o.Clients})
	case Share:
		p.publish(o.Clients, 1)
		p.subscribe(o.Subscribers, interest{filter: "$share/bench/" + p.root + "/+", count: o.Clients, partial: true})
	case Idle:
		for i := range o.Clients {
			p.subscribe(1, interest{filter: p.topic(i)})
		}
	case Subs:
		p.pairs(o.Clients)
		p.hold(o.Subscriptions, o.Holders)
	case Backlog:
		p.backlog(o)
	case Lone:
		p.pairs(1)
	default: // Pairs and Latency
		p.pairs(o.Clients)
	}
	return p, nil
}

func (p *plan) topic(i int) string { return p.root + "/" + strconv.Itoa(i) }

// held is the filter of a subscription that matches nothing, with three levels below the root as topics in use have.
func (p *plan) held(i int) string {
	return p.root + "/held/" + strconv.Itoa(i/1000) + "/" + strconv.Itoa(i%1000)
}

func (p *plan) publish(n int, copies uint32) {
	for i := range n {
		p.publishers = append(p.publishers, route{topic: p.topic(i), copies: copies})
	}
}

func (p *plan) subscribe(n int, x interest) {
	for range n {
		p.subscribers = append(p.subscribers, x)
	}
}

func (p *plan) pairs(n int) {
	p.publish(n, 1)
	for i := range n {
		p.subscribe(1, interest{filter: p.topic(i), first: i, count: 1})
	}
}

// backlog gives each session all topics, or a share of them that differs by one at most; where there are fewer topics than
// sessions, some share one.
func (p *plan) backlog(o *Options) {
	p.publish(o.Clients, 0)
	for i := range o.Subscribers {
		x := interest{filter: p.root + "/+", count: o.Clients}
		if !o.Everyone {
			first := i * o.Clients / o.Subscribers
			x = interest{first: first, count: max((i+1)*o.Clients/o.Subscribers-first, 1)}
		}
		p.subscribe(1, x)
		for j := range x.count {
			p.publishers[x.first+j].copies++
		}
	}
}

func (p *plan) hold(subscriptions, holders int) {
	for i := range holders {
		p.holders = append(p.holders, holding{from: i * subscriptions / holders, to: (i + 1) * subscriptions / holders})
	}
}
