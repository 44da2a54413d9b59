package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstockmq/penstock/client"
)

// A subscription is the flags of sub that say what to receive and how to print it.
type subscription struct {
	filters, exclude  []string
	qos               uint8
	noLocal           bool
	retainAsPublished bool
	skipRetained      bool
	retainedOnly      bool
	count             int
	wait              string
	exitOnSubscribed  bool
	verbose, raw      bool
	format            string
}

func subCommand() *cobra.Command {
	var conn connection
	var sub subscription
	c := &cobra.Command{
		Use:   "sub -t FILTER [-t FILTER]…",
		Short: "Subscribe to topics and print what arrives",
		Long: "Subscribe to topics and print what arrives, a message a line. A lost connection is made again, unless the\n" +
			"broker's reason is final. Flags are those of mosquitto_sub where that has them.\n\n" +
			"-F takes %t topic, %p payload, %x payload in hexadecimal, %l length, %q QoS, %r retain, %m packet identifier,\n" +
			"%C content type, %R response topic, %D correlation data, %E expiry, %P user properties, %F payload format,\n" +
			"%S subscription identifier, %A topic alias, %I and %U time, %j JSON, %J JSON with a payload that is JSON, %%.",
		Example: "  penstock sub -t 'home/#' -v\n" +
			"  penstock sub -h hub.example -t 'site7/+' -q 1 -i logger -c >> log\n" +
			"  penstock sub -t 'orders/#' -F %j | jq .payload",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			options, err := conn.options()
			if err != nil {
				return err
			}
			return sub.run(c.Context(), options, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	conn.define(c.Flags())
	sub.define(c.Flags())
	return c
}

func (s *subscription) define(f *pflag.FlagSet) {
	f.StringArrayVarP(&s.filters, "topic", "t", nil, "topic filter, $share/<group>/<filter> included; repeatable")
	f.StringArrayVarP(&s.exclude, "filter-out", "T", nil, "leave out topics that match this filter; repeatable")
	f.Uint8VarP(&s.qos, "qos", "q", 0, "QoS: 0, 1 or 2")
	f.BoolVar(&s.noLocal, "no-local", false, "leave out what this client published itself (MQTT 5)")
	f.BoolVar(&s.retainAsPublished, "retain-as-published", false, "show the retain flag as published (MQTT 5)")
	f.BoolVarP(&s.skipRetained, "no-retained", "R", false, "leave out retained messages")
	f.BoolVar(&s.retainedOnly, "retained-only", false, "end with the first message that is not retained")
	f.IntVarP(&s.count, "count", "C", 0, "end after so many messages")
	f.StringVarP(&s.wait, "wait", "W", "", "end after so many seconds, or a duration such as 1m; with -C it is an error to end early")
	f.BoolVarP(&s.exitOnSubscribed, "exit", "E", false, "end when the subscriptions are made")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "print the topic before the payload")
	f.BoolVarP(&s.raw, "no-eol", "N", false, "print no end of line after a message")
	f.StringVarP(&s.format, "format", "F", "", "how to print a message (see above)")
}

func (s *subscription) run(ctx context.Context, o client.Options, stdout, stderr io.Writer) error {
	if len(s.filters) == 0 {
		return misused("sub needs a topic filter: -t FILTER")
	}
	if s.qos > 2 {
		return misused("-q: expected 0, 1 or 2, got %d", s.qos)
	}
	format, err := s.printing()
	if err != nil {
		return err
	}
	wait, err := s.waiting()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends at once
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	ctx, ready := context.WithCancel(ctx)
	defer ready()
	warn := func(err error) { fmt.Fprintln(stderr, "penstock:", oneLine(err)) }
	request := s.request(format, stdout, warn)
	if s.exitOnSubscribed {
		request.Ready = ready
	}
	n, err := client.Subscribe(ctx, o, request)
	if err == nil && n < s.count && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%d of %d messages arrived within %s", n, s.count, wait)
	}
	return err
}

func (s *subscription) printing() (*client.Format, error) {
	format := client.Plain()
	switch {
	case s.format != "" && s.verbose:
		return nil, misused("-F and -v exclude each other")
	case s.format != "":
		var err error
		if format, err = client.ParseFormat(s.format); err != nil {
			return nil, misused("-F: %w", err)
		}
	case s.verbose:
		format = client.Verbose()
	}
	format.Raw = s.raw
	return format, nil
}

func (s *subscription) waiting() (time.Duration, error) {
	if s.wait == "" {
		return 0, nil
	}
	d, err := parseSeconds(s.wait)
	if err != nil || d == 0 {
		return 0, misused("-W: expected seconds or a duration such as 1m, got %q", s.wait)
	}
	return d, nil
}

// request is the subscription with a handler that prints. A payload that cannot be
// printed as asked is warned of and counts as received.
func (s *subscription) request(format *client.Format, stdout io.Writer, warn func(error)) client.Subscription {
	request := client.Subscription{
		Exclude: s.exclude, SkipRetained: s.skipRetained, RetainedOnly: s.retainedOnly, Count: s.count, Warn: warn,
	}
	for _, f := range s.filters {
		request.Filters = append(request.Filters, client.Filter{
			Filter: f, QoS: s.qos, NoLocal: s.noLocal, RetainAsPublished: s.retainAsPublished,
		})
	}
	var line []byte
	request.Handle = func(m *client.Message) (err error) {
		if line, err = format.Append(line[:0], m, time.Now()); err != nil {
			warn(err)
			return nil
		}
		_, err = stdout.Write(line)
		return err
	}
	return request
}
