package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/penstockmq/penstock/bench"
)

// benchCommand is "penstock bench": a load generator for this and any other broker.
func benchCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure a broker: deliveries, processor time, memory, latency, what it stores",
	}
	about := map[bench.Scenario]string{
		bench.Pairs:    "n publishers to n subscribers, each pair on its own topic",
		bench.FanOut:   "one publisher to n subscribers",
		bench.FanIn:    "n publishers to m subscribers on a wildcard",
		bench.Share:    "n publishers to a shared subscription of m members",
		bench.Channel:  "n publishers to the m members of a channel that is declared",
		bench.Bridge:   "pairs whose publishers are at one broker and subscribers at another, with a bridge between",
		bench.Idle:     "n connections with a subscription each: memory and connects a second",
		bench.Subs:     "pairs beside many subscriptions that match nothing: cost of a publish",
		bench.Retained: "pairs beside many retained messages: cost of a publish",
		bench.Latency:  "pairs at a fixed rate: how long a message takes",
		bench.Backlog:  "n publishers to sessions that are away, which come back and read it all",
		bench.Lone:     "one publisher to a session that is away, against a plain file with fdatasync",
	}
	for _, s := range bench.Scenarios {
		c.AddCommand(benchScenario(s, about[s]))
	}
	c.AddCommand(benchCompare())
	return c
}

func benchScenario(s bench.Scenario, about string) *cobra.Command {
	o := bench.Default(s)
	var version string
	var asJSON bool
	c := &cobra.Command{Use: string(s), Short: about, Args: cobra.NoArgs, SilenceUsage: true}
	benchFlags(c.Flags(), &o)
	c.Flags().StringVar(&version, "mqtt", "311", "protocol version, 311 or 5")
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		var err error
		if o.Version, err = benchVersion(version); err != nil {
			return err
		}
		if o.Username != "" {
			o.Password = os.Getenv("PENSTOCK_PASSWORD")
		}
		ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		var clear func()
		o.Progress, clear = benchProgress(c.ErrOrStderr())
		result, err := bench.Run(ctx, o)
		clear()
		if err != nil {
			return err
		}
		return benchPrint(c.OutOrStdout(), asJSON, result, result.Write)
	}
	return c
}

// benchFlags defines the flags that the scenario uses.
func benchFlags(f *pflag.FlagSet, o *bench.Options) {
	if o.Scenario == bench.Bridge {
		f.StringVar(&o.Address, "from", o.Address, "host:port of the broker that is published to")
		f.StringVar(&o.To, "to", "", "host:port of the broker that the subscribers are at (required)")
		f.StringVar(&o.ToPrefix, "to-prefix", "", "what the bridge puts in front of topics")
	} else {
		f.StringVar(&o.Address, "address", o.Address, "host:port of the broker")
	}
	f.IntSliceVar(&o.PIDs, "pid", nil, "the broker's process, to measure its processor time and memory; several with commas between")
	f.StringVarP(&o.Username, "username", "u", "", "username; its password is taken from the environment: PENSTOCK_PASSWORD")
	f.StringVar(&o.Prefix, "prefix", o.Prefix, "what topics start with")
	f.Uint8Var(&o.QoS, "qos", o.QoS, "quality of service, 0, 1 or 2")
	if o.Scenario != bench.Backlog {
		f.DurationVar(&o.Duration, "duration", o.Duration, "how long to measure")
	}
	if o.Scenario != bench.FanOut && o.Scenario != bench.Lone {
		f.IntVar(&o.Clients, "clients", o.Clients, "publishers; for idle, connections")
	}
	benchScenarioFlags(f, o)
	if o.Scenario == bench.Idle {
		return
	}
	f.IntVar(&o.Size, "size", o.Size, "bytes of a payload")
	f.DurationVar(&o.Rest, "rest", o.Rest, "how long to sleep between two looks at the sockets, so that messages gather")
	if o.Scenario != bench.Lone {
		f.IntVar(&o.Window, "window", o.Window, "messages of a publisher that may be on their way")
		f.IntVar(&o.Burst, "burst", 0, "messages a publisher sends between two looks at its socket (default as many as the window takes)")
	}
	if o.Scenario != bench.Backlog {
		f.DurationVar(&o.Warmup, "warmup", o.Warmup, "how long to run before measuring")
	}
	benchStoreFlags(f, o)
}

// benchScenarioFlags defines the flags of one scenario or a few.
func benchScenarioFlags(f *pflag.FlagSet, o *bench.Options) {
	switch o.Scenario {
	case bench.FanOut, bench.FanIn:
		f.IntVar(&o.Subscribers, "subscribers", o.Subscribers, "subscribers")
	case bench.Share:
		f.IntVar(&o.Subscribers, "members", o.Subscribers, "members of the shared subscription")
		f.StringVar(&o.Group, "group", o.Group, "name of the shared subscription")
		f.StringVar(&o.Filter, "filter", "", "filter of the shared subscription, which must match PREFIX/# (default the topics of this run only)")
	case bench.Channel:
		f.IntVar(&o.Subscribers, "members", o.Subscribers, "members of the channel")
		f.StringVar(&o.Channel, "channel", "", "name of the channel, whose filter must match PREFIX/# (required)")
	case bench.Subs:
		f.IntVar(&o.Subscriptions, "subscriptions", o.Subscriptions, "subscriptions that match nothing")
		f.IntVar(&o.Holders, "holders", o.Holders, "connections that hold them")
		f.IntVar(&o.Wildcards, "wildcards", o.Wildcards, "percentage of them with a wildcard")
		f.BoolVar(&o.Away, "away", false, "those who hold them leave, with --durable, so that the broker has their sessions")
		f.IntVar(&o.Retained, "retained", 0, "retained messages, besides")
	case bench.Retained:
		f.IntVar(&o.Retained, "retained", o.Retained, "retained messages on topics of nobody's interest")
	case bench.Latency:
		f.IntVar(&o.Rate, "rate", o.Rate, "messages a second, of all publishers")
	}
}

// benchStoreFlags defines the flags about what a broker stores.
func benchStoreFlags(f *pflag.FlagSet, o *bench.Options) {
	f.StringVar(&o.Metrics, "metrics", "", "URL of Penstock's metrics (http://127.0.0.1:9883/metrics), to count fsyncs and collections")
	switch o.Scenario {
	case bench.Backlog:
		f.IntVar(&o.Subscribers, "sessions", o.Subscribers, "sessions that are away")
		f.IntVar(&o.Messages, "messages", o.Messages, "messages to publish, by all publishers together")
		f.BoolVar(&o.Everyone, "everyone", false, "each session gets every message, and not its share of the topics")
		f.StringVar(&o.Data, "data", "", "the broker's data folder, to measure its size")
		f.DurationVar(&o.Settle, "settle", 0, "how long to watch the data folder when everything was read")
	case bench.Lone:
		f.StringVar(&o.Data, "data", "", "the broker's data folder; the plain file is written next to it (required)")
	default:
		f.BoolVar(&o.Durable, "durable", false, "sessions outlive their connections, so that QoS 1 and 2 go through the store")
	}
}

func benchVersion(text string) (byte, error) {
	switch text {
	case "311":
		return 4, nil
	case "5":
		return 5, nil
	}
	return 0, fmt.Errorf("--mqtt is %q, must be 311 or 5", text)
}

// clearLine ends a line that is written over.
const clearLine = "\r\033[K"

// benchProgress shows one line that is written over, where somebody looks, until it is cleared.
func benchProgress(w io.Writer) (show func(bench.Progress), clear func()) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, func() {}
	}
	show = func(p bench.Progress) {
		fmt.Fprintf(f, clearLine+"%s  %v  %d clients  %.0f/s", p.Phase, p.Elapsed.Round(time.Second), p.Connected, p.PerSecond)
		if p.P99 > 0 {
			fmt.Fprintf(f, "  p99 %v", bench.Round(p.P99))
		}
	}
	return show, func() { fmt.Fprint(f, clearLine) }
}

func benchPrint(w io.Writer, asJSON bool, value any, text func(io.Writer) error) error {
	if !asJSON {
		return text(w)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(value)
}
