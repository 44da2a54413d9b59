package bridge

import (
	"strings"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/configs"
)

// publisherMark stands in a remote prefix for the client identifier of who published.
const publisherMark = "{publisher}"

// A rule moves the topics that match a filter in one direction.
type rule struct {
	local, remote             string // filters
	localPrefix, remotePrefix string
	qos                       byte // at most
	clear                     bool // the retain flag
	named                     bool // remotePrefix contains publisherMark
}

// rules are those of one bridge, in the order of the configuration. The first that matches is taken.
type rules struct{ out, in []rule }

// newRules fills in the placeholders.
func newRules(topics []configs.BridgeTopic, names *strings.Replacer) rules {
	var r rules
	for i := range topics {
		t := &topics[i]
		filter, local, remote := names.Replace(t.Filter), names.Replace(t.LocalPrefix), names.Replace(t.RemotePrefix)
		made := rule{
			local: local + filter, remote: remote + filter, localPrefix: local, remotePrefix: remote,
			qos: t.QoS, clear: t.Retain == configs.RetainClear, named: strings.Contains(remote, publisherMark),
		}
		if t.Sends() {
			r.out = append(r.out, made)
		}
		if t.Receives() {
			r.in = append(r.in, made)
		}
	}
	return r
}

// sending is the rule that takes a message to the other broker, nil if none does.
func (r *rules) sending(name string) *rule {
	for i := range r.out {
		if topic.Match(r.out[i].local, name) {
			return &r.out[i]
		}
	}
	return nil
}

// receiving is the rule that a message from the other broker came by, nil if none did.
func (r *rules) receiving(name string) *rule {
	for i := range r.in {
		if topic.Match(r.in[i].remote, name) {
			return &r.in[i]
		}
	}
	return nil
}

// there is what a local topic is called at the other broker.
func (r *rule) there(m *packet.Message) string {
	rest := m.Topic[len(r.localPrefix):]
	switch {
	case r.remotePrefix == "":
		return rest
	case r.named:
		return strings.ReplaceAll(r.remotePrefix, publisherMark, oneLevel(m.Publisher)) + rest
	}
	return r.remotePrefix + rest
}

// here is what a topic of the other broker is called in this one.
func (r *rule) here(name string) string {
	if r.localPrefix == r.remotePrefix {
		return name
	}
	return r.localPrefix + name[len(r.remotePrefix):]
}

// oneLevel makes a client identifier one level of a topic name.
func oneLevel(id string) string {
	if id == "" {
		return "_"
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '/', '+', '#', 0:
			return '_'
		}
		return r
	}, id)
}
