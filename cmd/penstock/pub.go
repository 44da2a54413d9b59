package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstockmq/penstock/client"
)

// A publication is the flags of pub that say what to publish.
type publication struct {
	topic         string
	message, file string
	null          bool
	whole, lines  bool
	qos           uint8
	retain        bool
	window        int
	expiry        uint32
	contentType   string
	response      string
	correlation   string
	text          bool
	properties    []string
	delimiter     string
	count         int
	rate          float64
	reconnect     bool

	messageID             bool // message-id=auto
	hasMessage, hasExpiry bool // given, be it with an empty or zero value
}

func pubCommand() *cobra.Command {
	var conn connection
	var pub publication
	c := &cobra.Command{
		Use:   "pub -t TOPIC {-m TEXT | -f FILE | -n | -s | -l}",
		Short: "Publish to a broker",
		Long: "Publish to a broker. It ends when every message is acknowledged (with QoS 0: written), and with 1 and the\n" +
			"broker's reason when one was refused. Flags are those of mosquitto_pub where that has them.",
		Example: "  penstock pub -t home/lamp -m on\n" +
			"  sensor | penstock pub -h hub.example -t site7/temperature -q 1 -l\n" +
			"  penstock pub --url wss://alice:secret@chat.example/mqtt -t chat/room1 -m hello --user-property from=alice",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			pub.hasMessage, pub.hasExpiry = c.Flags().Changed("message"), c.Flags().Changed("expiry")
			options, err := conn.options()
			if err != nil {
				return err
			}
			message, err := pub.build()
			if err != nil {
				return err
			}
			source, closeSource, err := pub.source(c.InOrStdin())
			if err != nil {
				return err
			}
			defer closeSource()
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // a second signal ends at once
			_, err = client.Publish(ctx, options, client.Publication{
				Message: message, Source: source, Window: pub.window, MessageID: pub.messageID,
				Reconnect: pub.reconnect, Warn: func(err error) { fmt.Fprintln(c.ErrOrStderr(), "penstock:", oneLine(err)) },
			})
			if errors.Is(err, context.Canceled) {
				return errors.New("interrupted")
			}
			return err
		},
	}
	conn.define(c.Flags())
	pub.define(c.Flags())
	return c
}

func (p *publication) define(f *pflag.FlagSet) {
	f.StringVarP(&p.topic, "topic", "t", "", "topic to publish to")
	f.StringVarP(&p.message, "message", "m", "", "publish this text")
	f.StringVarP(&p.file, "file", "f", "", "publish what is in this file")
	f.BoolVarP(&p.null, "null-message", "n", false, "publish an empty message")
	f.BoolVarP(&p.whole, "stdin-file", "s", false, "publish all of standard input as one message")
	f.BoolVarP(&p.lines, "lines", "l", false, "publish each line of standard input")
	f.BoolVar(&p.lines, "stdin-line", false, "the same as --lines")
	f.StringVar(&p.delimiter, "delimiter", "", `with -l: what ends a payload instead of the end of a line; \n \t \0 as in C`)
	f.IntVar(&p.count, "count", 0, "with -l: end after so many payloads")
	f.Float64Var(&p.rate, "rate", 0, "with -l: how many messages a second at most")
	f.BoolVar(&p.reconnect, "reconnect", false, "make a lost connection again, and send again what was not acknowledged")
	f.Uint8VarP(&p.qos, "qos", "q", 0, "QoS: 0, 1 or 2")
	f.BoolVarP(&p.retain, "retain", "r", false, "have the message retained")
	f.IntVar(&p.window, "max-inflight", 100, "how many messages may wait for their acknowledgement")
	f.Uint32Var(&p.expiry, "expiry", 0, "seconds after which the message is not delivered any more (MQTT 5)")
	f.StringVar(&p.contentType, "content-type", "", "content type (MQTT 5)")
	f.StringVar(&p.response, "response-topic", "", "topic for answers (MQTT 5)")
	f.StringVar(&p.correlation, "correlation-data", "", "what an answer refers to (MQTT 5)")
	f.BoolVar(&p.text, "utf8", false, "say that the payload is UTF-8 text (MQTT 5)")
	f.StringArrayVar(&p.properties, "user-property", nil, "user property of the message, name=value; repeatable (MQTT 5); "+
		"message-id=auto gives each message one of its own")
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "property" {
			name = "user-property"
		}
		return pflag.NormalizedName(name)
	})
	_ = f.MarkHidden("stdin-line") // it fails only for a flag that does not exist
}

// build is the message without its payload.
func (p *publication) build() (client.Message, error) {
	m := client.Message{Topic: p.topic, QoS: p.qos, Retain: p.retain}
	if p.topic == "" {
		return m, misused("pub needs a topic: -t TOPIC")
	}
	if p.qos > 2 {
		return m, misused("-q: expected 0, 1 or 2, got %d", p.qos)
	}
	m.Properties = client.Properties{ContentType: p.contentType, ResponseTopic: p.response}
	if p.hasExpiry {
		m.Properties.MessageExpiry = &p.expiry
	}
	if p.correlation != "" {
		m.Properties.CorrelationData = []byte(p.correlation)
	}
	if p.text {
		utf8 := byte(1)
		m.Properties.PayloadFormat = &utf8
	}
	var err error
	given := slices.DeleteFunc(slices.Clone(p.properties), func(pair string) bool { return pair == "message-id=auto" })
	p.messageID = len(given) < len(p.properties)
	m.Properties.User, err = userProperties("--user-property", given)
	return m, err
}

// feed is the source of the lines of standard input.
func (p *publication) feed(stdin io.Reader) (client.Source, error) {
	source := client.Lines(stdin)
	if p.delimiter != "" {
		delimiter, err := strconv.Unquote(`"` + strings.NewReplacer(`"`, `\"`, `\0`, `\x00`).Replace(p.delimiter) + `"`)
		if err != nil {
			return nil, misused("--delimiter: expected text with \\n, \\t and the like, got %q", p.delimiter)
		}
		source = client.Pieces(stdin, delimiter)
	}
	if p.count > 0 {
		source = client.AtMost(p.count, source)
	}
	if p.rate > 0 {
		source = client.Paced(p.rate, source)
	}
	return source, nil
}

// source is where the payloads come from, and how to close it.
func (p *publication) source(stdin io.Reader) (client.Source, func(), error) {
	chosen := 0
	for _, given := range []bool{p.hasMessage, p.file != "", p.null, p.whole, p.lines} {
		if given {
			chosen++
		}
	}
	if chosen != 1 {
		return nil, nil, misused("pub needs one of -m TEXT, -f FILE, -n, -s and -l")
	}
	if !p.lines && (p.delimiter != "" || p.count != 0 || p.rate != 0) {
		return nil, nil, misused("--delimiter, --count and --rate go with -l")
	}
	if p.count < 0 || p.rate < 0 {
		return nil, nil, misused("--count and --rate: expected more than 0")
	}
	switch {
	case p.hasMessage:
		return client.One([]byte(p.message)), func() {}, nil
	case p.null:
		return client.One(nil), func() {}, nil
	case p.whole:
		return client.Whole(stdin), func() {}, nil
	case p.lines:
		source, err := p.feed(stdin)
		return source, func() {}, err
	}
	f, err := os.Open(p.file)
	if err != nil {
		return nil, nil, err
	}
	return client.Whole(f), func() { f.Close() }, nil
}
