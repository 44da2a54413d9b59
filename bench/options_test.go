package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/topic"
)

func TestDefaultsAreValid(t *testing.T) {
	for _, s := range Scenarios {
		o := Default(s)
		o.Data, o.Channel, o.To = "data", "c", "there:1883" // which nothing can be the default of
		if err := o.Check(); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, c := range Cases() {
		if err := c.Options.Check(); err != nil {
			t.Errorf("case %s: %v", c.Name, err)
		}
	}
}

// Each impossible option is named with its value.
func TestCheckNamesWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		scenario Scenario
		change   func(*Options)
		says     string
	}{
		{"dance", func(*Options) {}, `scenario is "dance"`},
		{Pairs, func(o *Options) { o.Clients = 0 }, "clients is 0"},
		{Pairs, func(o *Options) { o.QoS = 3 }, "qos is 3"},
		{Pairs, func(o *Options) { o.Size = headerLen - 1 }, "size is 23"},
		{Pairs, func(o *Options) { o.Window = 65_536 }, "window is 65536"},
		{Pairs, func(o *Options) { o.Burst = -1 }, "burst is -1"},
		{Pairs, func(o *Options) { o.Version = 3 }, "protocol version is 3"},
		{Pairs, func(o *Options) { o.Duration = 0 }, "duration 0s"},
		{Pairs, func(o *Options) { o.Duration = 2 * time.Hour }, "duration 2h"},
		{Pairs, func(o *Options) { o.Rest = time.Second }, "rest is 1s"},
		{FanOut, func(o *Options) { o.Subscribers = 0 }, "subscribers is 0"},
		{Subs, func(o *Options) { o.Holders = 0 }, "holders is 0"},
		{Subs, func(o *Options) { o.Subscriptions, o.Holders = 5, 6 }, "holders is 6"},
		{Latency, func(o *Options) { o.Rate = 0 }, "rate is 0"},
		{Backlog, func(o *Options) { o.QoS = 0 }, "qos is 0"},
		{Backlog, func(o *Options) { o.Subscribers = 0 }, "sessions is 0"},
		{Backlog, func(o *Options) { o.Messages = 9 }, "messages is 9"},
		{Backlog, func(o *Options) { o.Durable = false }, "sessions must be durable"},
		{Backlog, func(o *Options) { o.Settle = time.Minute }, "needs the broker's data folder"},
		{Backlog, func(o *Options) { o.Settle = -1 }, "settle is -1ns"},
		{Lone, func(*Options) {}, "data folder is needed"},
		{Share, func(o *Options) { o.Subscribers = 0 }, "members is 0"},
		{Share, func(o *Options) { o.Group = "a/b" }, `group's name is "a/b"`},
		{Channel, func(*Options) {}, `channel's name is ""`},
		{Channel, func(o *Options) { o.Channel = "+" }, `channel's name is "+"`},
		{Bridge, func(*Options) {}, "address to which the bridge forwards"},
		{Retained, func(o *Options) { o.Retained = 0 }, "retained is 0"},
		{Subs, func(o *Options) { o.Wildcards = 101 }, "wildcards is 101"},
		{Subs, func(o *Options) { o.Away = true }, "must have a durable session"},
		{Pairs, func(o *Options) { o.Prefix = "a/#" }, `prefix is "a/#"`},
		{Pairs, func(o *Options) { o.Prefix = "$SYS" }, `prefix is "$SYS"`},
	} {
		o := Default(test.scenario)
		test.change(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("error %v, want %q", err, test.says)
		}
	}
}

// Each subscriber expects just the messages of the publishers whose topics its filter matches.
func TestPlans(t *testing.T) {
	for _, test := range []struct {
		scenario                         Scenario
		publishers, subscribers, holders int
		copies                           uint32
		count                            int
		filter                           string // of the last subscriber; R is the root
	}{
		{Pairs, 4, 4, 0, 1, 1, "R/3"},
		{FanOut, 1, 3, 0, 3, 1, "R/0"},
		{FanIn, 4, 3, 0, 3, 4, "R/+"},
		{Share, 4, 3, 0, 1, 4, "$share/bench/R/+"},
		{Channel, 4, 3, 0, 1, 4, "$channel/c"},
		{Bridge, 4, 4, 0, 1, 1, "site/R/3"},
		{Idle, 0, 4, 0, 0, 0, "R/3"},
		{Subs, 4, 4, 2, 1, 1, "R/3"},
		{Retained, 4, 4, 2, 1, 1, "R/3"},
		{Latency, 4, 4, 0, 1, 1, "R/3"},
		{Lone, 1, 1, 0, 1, 1, "R/0"},
	} {
		o := Default(test.scenario)
		o.Clients, o.Subscribers, o.Subscriptions, o.Holders, o.Channel = 4, 3, 7, 2, "c"
		if test.scenario == Bridge {
			o.ToPrefix = "site/"
		}
		p, err := newPlan(&o)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.publishers) != test.publishers || len(p.subscribers) != test.subscribers || len(p.holders) != test.holders {
			t.Errorf("%s: %d publishers, %d subscribers, %d holders", test.scenario, len(p.publishers), len(p.subscribers), len(p.holders))
		}
		for _, r := range p.publishers {
			if r.copies != test.copies {
				t.Errorf("%s: %d copies", test.scenario, r.copies)
			}
		}
		last := p.subscribers[len(p.subscribers)-1]
		if want := strings.Replace(test.filter, "R", p.root, 1); last.count != test.count || last.filter != want {
			t.Errorf("%s: expects %d on %s", test.scenario, last.count, last.filter)
		}
	}
}

// A shared subscription may have a filter of its own, as that of a declared channel.
func TestSharedFilter(t *testing.T) {
	o := Default(Share)
	o.Group, o.Filter = "billing", "bench/#"
	p, err := newPlan(&o)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.subscribers[0].filter; got != "$share/billing/bench/#" {
		t.Error(got)
	}
}

// As many filters as asked have a wildcard, all are different, valid, and match no topic that is published or retained.
func TestHeldFilters(t *testing.T) {
	for _, share := range []int{0, 1, 33, 50, 100} {
		o := Default(Subs)
		o.Wildcards = share
		p, err := newPlan(&o)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]bool)
		wildcards := 0
		for i := range 3000 {
			filter := p.held(i)
			seen[filter] = true
			if strings.ContainsAny(filter, "+#") {
				wildcards++
			}
			if err := topic.CheckFilter(filter, topic.Limits{}); err != nil || topic.Match(filter, p.topic(3)) || topic.Match(filter, p.kept(i)) {
				t.Fatalf("%s: %v, or it matches", filter, err)
			}
		}
		if len(seen) != 3000 || wildcards != 30*share {
			t.Errorf("%d%%: %d filters, %d with wildcards", share, len(seen), wildcards)
		}
	}
}

// Sessions of a backlog have all topics, or share them: every topic has a session, every session a topic, and a publisher
// knows for how many sessions its messages are.
func TestBacklogPlans(t *testing.T) {
	for _, test := range []struct {
		publishers, sessions int
		everyone             bool
	}{{10, 10, false}, {10, 3, false}, {3, 10, false}, {1, 5, false}, {5, 1, false}, {4, 3, true}} {
		o := Default(Backlog)
		o.Clients, o.Subscribers, o.Everyone = test.publishers, test.sessions, test.everyone
		p, err := newPlan(&o)
		if err != nil {
			t.Fatal(err)
		}
		copies := make([]uint32, test.publishers)
		for _, x := range p.subscribers {
			if x.count < 1 || test.everyone != (x.count == test.publishers && x.filter != "") {
				t.Errorf("%+v: a session with %+v", test, x)
			}
			for i := range x.count {
				copies[x.first+i]++
			}
		}
		for i, r := range p.publishers {
			if r.copies != copies[i] || r.copies == 0 {
				t.Errorf("%+v: %d copies of publisher %d's, want %d and one at least", test, r.copies, i, copies[i])
			}
		}
	}
}

// The holders hold every subscription once.
func TestHoldersShareTheSubscriptions(t *testing.T) {
	o := Default(Subs)
	o.Subscriptions, o.Holders = 10, 3
	p, err := newPlan(&o)
	if err != nil {
		t.Fatal(err)
	}
	next := 0
	for _, h := range p.holders {
		if h.from != next || h.to <= h.from {
			t.Errorf("holding %+v after %d", h, next)
		}
		next = h.to
	}
	if next != 10 {
		t.Errorf("%d subscriptions held", next)
	}
}

func TestClientIDsFitAnyBroker(t *testing.T) {
	o := Default(Pairs)
	p, err := newPlan(&o)
	if err != nil {
		t.Fatal(err)
	}
	if id := p.clientID("s", countMax); len(id) > 23 {
		t.Errorf("%s is longer than 23 characters", id)
	}
}
