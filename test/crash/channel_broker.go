package crash

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/hooks/channel"
)

// channelVariable makes the test program a broker with channels, and the fault of this name.
const channelVariable = "PENSTOCK_CRASH_CHANNEL"

// channelCommand makes commands that run this test program as a broker with channels.
func channelCommand(folder, fault string) func() *exec.Cmd {
	return func() *exec.Cmd {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), channelVariable+"="+fault, folderVariable+"="+folder)
		return c
	}
}

// serveChannels runs a broker with channels, and with the fault that the environment names, until it is killed.
func serveChannels(stderr io.Writer) error {
	name := os.Getenv(channelVariable)
	for _, f := range append(channelFaults(), channelFault{fault: none()}) {
		if f.name != name {
			continue
		}
		log := slog.New(slog.NewTextHandler(stderr, nil))
		declared := channelsOnTrial()
		if f.declare != nil {
			f.declare(declared)
		}
		channels := channel.New(channel.Options{Channels: declared, Limits: configs.Default().Limits, Log: log})
		return f.serve(os.Getenv(folderVariable), log, channels, &orders{channels: channels}, anybody{})
	}
	return fmt.Errorf("no fault is called %q", name)
}

// Orders are published to a topic with the verb and the channel's name, the reply to one with the order's payload.
const (
	orderPrefix = "order/"
	replyPrefix = "reply/"
)

// orders is a hook that lets an operator do over MQTT what he does over HTTP.
type orders struct {
	channels *channel.Channels
	broker   hooks.Broker
}

// Name implements hooks.Hook.
func (*orders) Name() string { return "orders" }

// Start implements hooks.Starter.
func (o *orders) Start(b hooks.Broker) error {
	o.broker = b
	return nil
}

// Selects implements hooks.PublishSelector.
func (*orders) Selects(m *packet.Message) bool { return strings.HasPrefix(m.Topic, orderPrefix) }

// OnPublish implements hooks.PublishInterceptor.
func (o *orders) OnPublish(_ *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
	verb, name, _ := strings.Cut(strings.TrimPrefix(m.Topic, orderPrefix), "/")
	token := string(m.Payload)
	go o.carryOut(verb, name, token) // it waits, which this must not; the process ends with kill -9
	return nil, hooks.Decision{Verdict: hooks.Handled}
}

// carryOut does what was ordered and replies once it is on disk. What fails has no reply.
func (o *orders) carryOut(verb, name, token string) {
	done := func(err error) {
		if err == nil {
			o.broker.Publish(&packet.Message{Topic: replyPrefix + token}, nil)
		}
	}
	var err error
	switch verb {
	case "pause":
		err = o.channels.Pause(name, done)
	case "resume":
		err = o.channels.Resume(name, done)
	case "depths":
		depths := map[string]int{"deferred": o.channels.Deferred()}
		for _, s := range o.channels.Stats() {
			depths[s.Settings.Name] = s.Depth
		}
		var payload []byte
		payload, err = json.Marshal(depths)
		o.broker.Publish(&packet.Message{Topic: replyPrefix + token, Payload: payload}, nil)
	}
	if err != nil { // the operator asks for nothing that can be refused
		panic(err)
	}
}
