package bench

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
)

// A plan is a scenario spelled out: who publishes where and who subscribes to what.
type plan struct {
	run         uint32 // tells the run's messages from another's
	token       string // and its clients and topics
	root        string // above all topics of the run
	arrives     string // where they are for the subscribers
	publishers  []route
	subscribers []interest
	holders     []holding
	keepers     []holding // of retained messages
	wildcards   int       // percentage of the filters that are held
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

// A holding is a connection that holds subscriptions which match nothing, or retained messages: number from to below to.
type holding struct{ from, to int }

// keepersMax is how many clients publish what is retained: enough that a broker waits for none of them.
const keepersMax = 20

func newPlan(o *Options) (*plan, error) {
	var token [4]byte
	if _, err := rand.Read(token[:]); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	p := &plan{run: binary.BigEndian.Uint32(token[:]), token: hex.EncodeToString(token[:]), wildcards: o.Wildcards}
	p.root = o.Prefix + "/" + p.token
	p.arrives = o.ToPrefix + p.root
	switch o.Scenario {
	case FanOut:
		p.publish(1, uint32(o.Subscribers))
		p.subscribe(o.Subscribers, interest{filter: p.topic(0), count: 1})
	case FanIn:
		p.publish(o.Clients, uint32(o.Subscribers))
		p.subscribe(o.Subscribers, interest{filter: p.root + "/+", count: o.Clients})
	case Share, Channel:
		p.publish(o.Clients, 1)
		p.subscribe(o.Subscribers, interest{filter: p.common(o), count: o.Clients, partial: true})
	case Idle:
		for i := range o.Clients {
			p.subscribe(1, interest{filter: p.topic(i)})
		}
	case Backlog:
		p.backlog(o)
	case Lone:
		p.pairs(1)
	default: // Pairs and what is measured by them
		p.pairs(o.Clients)
	}
	if o.Scenario == Subs || o.Scenario == Retained {
		p.holders = spread(o.Subscriptions, o.Holders)
		p.keepers = spread(o.Retained, min(o.Retained, keepersMax))
	}
	return p, nil
}

// common is the filter that all members subscribe to.
func (p *plan) common(o *Options) string {
	switch {
	case o.Scenario == Channel:
		return "$channel/" + o.Channel
	case o.Filter != "":
		return "$share/" + o.Group + "/" + o.Filter
	}
	return "$share/" + o.Group + "/" + p.root + "/+"
}

func (p *plan) topic(i int) string { return p.root + "/" + strconv.Itoa(i) }

// held is the filter of a subscription that matches nothing, with levels below the root as topics in use have. Of those with a
// wildcard each third has it at the end, in the middle, or where the topics that are published have a level, too.
func (p *plan) held(i int) string {
	area, place := strconv.Itoa(i/1000), strconv.Itoa(i%1000)
	if i*p.wildcards/100 == (i+1)*p.wildcards/100 {
		return p.root + "/held/" + area + "/" + place
	}
	switch i % 3 {
	case 0:
		return p.root + "/held/" + area + "/" + place + "/#"
	case 1:
		return p.root + "/held/" + area + "/+/" + place
	}
	return p.root + "/+/held/" + area + "/" + place
}

// kept is the topic of a retained message.
func (p *plan) kept(i int) string {
	return p.root + "/kept/" + strconv.Itoa(i/1000) + "/" + strconv.Itoa(i%1000)
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
		p.subscribe(1, interest{filter: p.arrives + "/" + strconv.Itoa(i), first: i, count: 1})
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

// spread has n connections hold so many things.
func spread(things, n int) []holding {
	var all []holding
	for i := range n {
		all = append(all, holding{from: i * things / n, to: (i + 1) * things / n})
	}
	return all
}
