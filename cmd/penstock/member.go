package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/penstockmq/penstock/client"
	"github.com/penstockmq/penstock/configs"
)

// A member is the flags of commands that work on messages: which they are, and how many at once.
type member struct {
	channels []string
	filters  []string
	qos      uint8
	window   uint16
	logLevel string
}

func (m *member) define(f *pflag.FlagSet) {
	f.StringArrayVar(&m.channels, "channel", nil, "join this channel: the same as -t '$channel/NAME'; repeatable")
	f.StringArrayVarP(&m.filters, "topic", "t", nil, "topic filter, $share/<group>/<filter> included; repeatable")
	f.Uint8VarP(&m.qos, "qos", "q", 1, "QoS: 1 or 2; 0 takes what the broker does not keep")
	f.Uint16Var(&m.window, "max-in-flight", 1000, "how many messages may be unacknowledged (MQTT 5; the broker may allow fewer)")
	f.StringVar(&m.logLevel, "log-level", "info", "debug, info, warn or error; the log goes to standard error")
}

// consumption is what the flags ask for, without the work.
func (m *member) consumption(command string, log *slog.Logger) (client.Consumption, error) {
	c := client.Consumption{Window: m.window, Warn: func(err error) { log.Warn("connection", "err", oneLine(err)) }}
	c.Ready = func() { log.Info("subscribed") }
	switch {
	case len(m.channels)+len(m.filters) == 0:
		return c, misused("%s needs a channel or a topic filter: --channel NAME or -t FILTER", command)
	case m.qos > 2:
		return c, misused("-q: expected 0, 1 or 2, got %d", m.qos)
	case m.window == 0:
		return c, misused("--max-in-flight: expected 1 to 65535, got 0")
	}
	for _, name := range m.channels {
		c.Filters = append(c.Filters, client.Filter{Filter: "$channel/" + name, QoS: m.qos})
	}
	for _, filter := range m.filters {
		c.Filters = append(c.Filters, client.Filter{Filter: filter, QoS: m.qos, RetainAsPublished: true})
	}
	return c, nil
}

// name is the channel or the group of the first filter.
func (m *member) name() string {
	if len(m.channels) > 0 {
		return m.channels[0]
	}
	levels := strings.Split(m.filters[0], "/")
	if len(levels) > 1 && (levels[0] == "$channel" || levels[0] == "$share") {
		return levels[1]
	}
	return "mqtt"
}

func (m *member) log(w io.Writer) (*slog.Logger, error) {
	switch m.logLevel {
	case "debug", "info", "warn", "error":
		log, _ := newLog(configs.Log{Level: m.logLevel}, w)
		return log, nil
	}
	return nil, misused("--log-level: expected debug, info, warn or error, got %q", m.logLevel)
}

// consume works until a signal. A second one ends at once, and leaves to the broker what is not acknowledged.
func consume(ctx context.Context, o client.Options, c client.Consumption, log *slog.Logger) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	ended := make(chan error, 1)
	go func() { ended <- client.Consume(ctx, o, c) }() // left behind only when the process ends with it
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	case s := <-signals:
		log.Info("stopping", "reason", s.String())
		stop()
	}
	select {
	case err := <-ended:
		return err
	case s := <-signals:
		return fmt.Errorf("stopped by a second signal: %s", s)
	}
}
