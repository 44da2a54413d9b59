package hooks_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// Stamp is a whole hook. It writes the name of a site onto every message as a user property, so that
// a receiver at the far end of a bridge sees where a message entered, and it keeps clients away from
// everything below "forbidden/".
//
// A hook needs a name. What else it does is told by the methods it has: Stamp has
// OnPublish and is therefore a hooks.PublishInterceptor, and AuthorizePublish, which makes
// it a hooks.PublishAuthorizer. It is not asked about anything else.
type Stamp struct {
	Site string
}

// Name identifies the hook in logs and metrics.
func (s *Stamp) Name() string { return "stamp" }

// AuthorizePublish refuses the forbidden topics. For all others it passes: whether they
// are allowed is for the hooks behind it to say. Called once for a connection and topic; the broker
// remembers the answer.
func (s *Stamp) AuthorizePublish(c *hooks.Client, topic string, qos byte, retain bool) hooks.Decision {
	if strings.HasPrefix(topic, "forbidden/") {
		return hooks.Decision{Verdict: hooks.Deny, Code: packet.NotAuthorized, Reason: topic + " is forbidden"}
	}
	return hooks.Decision{}
}

// OnPublish stamps the message. Messages are shared by all their receivers and never change, so it
// works on a copy, and gives the copy properties of its own. Payload can stay shared.
func (s *Stamp) OnPublish(c *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
	stamped := *m
	stamped.Properties = packet.AppendProperties(slices.Clone(m.Properties), &packet.Forwarded{
		User: []packet.UserProperty{{Key: "site", Value: s.Site}},
	})
	return &stamped, hooks.Decision{}
}

// A hook runs without a broker: a Chain asks it as the broker would.
func Example() {
	chain, err := hooks.NewChain(&Stamp{Site: "harbour"})
	if err != nil {
		fmt.Println(err)
		return
	}
	alice := &hooks.Client{ID: "alice-1", Username: "alice", Version: 5}

	d := chain.AuthorizePublish(alice, "forbidden/fruit", 0, false)
	fmt.Println(d.Verdict == hooks.Allow, d.Code, "-", d.Reason)

	d = chain.AuthorizePublish(alice, "crane/3/load", 1, false)
	fmt.Println(d.Verdict == hooks.Allow)

	m := &packet.Message{Topic: "crane/3/load", Payload: []byte("17 t"), Publisher: alice.ID, QoS: 1}
	out, _ := chain.OnPublish(alice, m)
	for key, value := range packet.UserProperties(out.Properties) {
		fmt.Println(out.Topic, key, value)
	}
	fmt.Println("the original has", len(m.Properties), "bytes of properties")

	// Output:
	// false not authorized - forbidden/fruit is forbidden
	// true
	// crane/3/load site harbour
	// the original has 0 bytes of properties
}
