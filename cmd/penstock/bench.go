package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
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
		bench.Pairs:   "n publishers to n subscribers, each pair on its own topic",
		bench.FanOut:  "one publisher to n subscribers",
		bench.FanIn:   "n publishers to m subscribers on a wildcard",
		bench.Share:   "n publishers to a shared subscription of m members",
		bench.Idle:    "n connections with a subscription each: memory and connects a second",
		bench.Subs:    "pairs beside many subscriptions that match nothing: cost of a publish",
		bench.Latency: "pairs at a fixed rate: how long a message takes",
		bench.Backlog: "n publishers to sessions that are away, which come back and read it all",
		bench.Lone:    "one publisher to a session that is away, against a plain file with fdatasync",
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
		ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		o.Progress = benchProgress(c.ErrOrStderr())
		result, err := bench.Run(ctx, o)
		if err != nil {
			return err
		}
		return benchPrint(c.OutOrStdout(), asJSON, result, result.Write)
	}
	return c
}

// benchFlags defines the flags that the scenario uses.
func benchFlags(f *pflag.FlagSet, o *bench.Options) {
	f.StringVar(&o.Address, "address", o.Address, "host:port of the broker")
	f.IntVar(&o.PID, "pid", 0, "the broker's process, to measure its processor time and memory")
	f.Uint8Var(&o.QoS, "qos", o.QoS, "quality of service, 0, 1 or 2")
	if o.Scenario != bench.Backlog {
		f.DurationVar(&o.Duration, "duration", o.Duration, "how long to measure")
	}
	if o.Scenario != bench.FanOut && o.Scenario != bench.Lone {
		f.IntVar(&o.Clients, "clients", o.Clients, "publishers; for idle, connections")
	}
	switch o.Scenario {
	case bench.FanOut, bench.FanIn, bench.Share:
		f.IntVar(&o.Subscribers, "subscribers", o.Subscribers, "subscribers")
	case bench.Subs:
		f.IntVar(&o.Subscriptions, "subscriptions", o.Subscriptions, "subscriptions that match nothing")
		f.IntVar(&o.Holders, "holders", o.Holders, "connections that hold them")
	case bench.Latency:
		f.IntVar(&o.Rate, "rate", o.Rate, "messages a second, of all publishers")
	}
	if o.Scenario == bench.Idle {
		return
	}
	f.IntVar(&o.Size, "size", o.Size, "bytes of a payload")
	f.DurationVar(&o.Rest, "rest", o.Rest, "how long to sleep between two looks at the sockets")
	if o.Scenario != bench.Lone {
		f.IntVar(&o.Window, "window", o.Window, "messages of a publisher that may be on their way")
		f.IntVar(&o.Burst, "burst", 0, "messages a publisher sends between two looks at its socket (default as many as the window takes)")
	}
	if o.Scenario != bench.Backlog {
		f.DurationVar(&o.Warmup, "warmup", o.Warmup, "how long to run before measuring")
	}
	benchStoreFlags(f, o)
}

// benchStoreFlags defines the flags about what a broker stores.
func benchStoreFlags(f *pflag.FlagSet, o *bench.Options) {
	f.StringVar(&o.Metrics, "metrics", "", "URL of Penstock's metrics (http://127.0.0.1:9883/metrics), to count fsyncs")
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

// benchProgress shows one line that is written over, where somebody looks.
func benchProgress(w io.Writer) func(bench.Progress) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func(p bench.Progress) {
		fmt.Fprintf(f, "\r\033[K%s  %v  %d clients  %d/s", p.Phase, p.Elapsed.Round(time.Second), p.Connected, p.Delivered)
		if p.P99 > 0 {
			fmt.Fprintf(f, "  p99 %v", p.P99)
		}
	}
}

func benchPrint(w io.Writer, asJSON bool, value any, text func(io.Writer) error) error {
	if !asJSON {
		return text(w)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// A benchComparison is what the command line says of one.
type benchComparison struct {
	options             bench.CompareOptions
	brokers, cases      []string
	penstock, mosquitto string // paths
	into                string // page to write the tables to
	asJSON              bool
}

// benchCompare is "penstock bench compare": several brokers side by side.
func benchCompare() *cobra.Command {
	var b benchComparison
	c := &cobra.Command{
		Use:   "compare",
		Short: "Start brokers in turn and measure them side by side; the last named is the reference",
		Long: "Start brokers in turn, each anew for each measurement, and measure them side by side. Cases with a store write to disk:\n" +
			"Penstock with storage.sync always, mosquitto with its persistence on, which writes now and then.",
		Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error { return b.run(c) },
	}
	f := c.Flags()
	f.StringSliceVar(&b.brokers, "brokers", []string{"penstock", "mosquitto"}, "what to compare")
	f.StringSliceVar(&b.cases, "cases", nil, "what to measure: cases, or the groups live and stored (default everything)")
	f.StringVar(&b.penstock, "penstock", "", "path of the penstock program (default this one)")
	f.StringVar(&b.mosquitto, "mosquitto", "", "path of the mosquitto program (default from PATH, then /usr/sbin)")
	f.IntVar(&b.options.Rounds, "rounds", 3, "measurements of each case and broker; the medians count")
	f.DurationVar(&b.options.Duration, "duration", 0, "how long each measures (default as the case says)")
	f.IntVar(&b.options.Messages, "messages", 0, "messages of each backlog (default as the case says)")
	f.StringVar(&b.options.Folder, "folder", "", "where brokers keep their files while they run (default the system's temporary folder)")
	f.StringVar(&b.into, "into", "", "write the tables into this page, between the lines that mark them")
	f.BoolVar(&b.asJSON, "json", false, "print the comparison as JSON")
	return c
}

func (b *benchComparison) run(c *cobra.Command) error {
	var err error
	if b.options.Cases, err = bench.SelectCases(b.cases); err != nil {
		return err
	}
	if b.options.Brokers, err = benchBrokers(b.brokers, b.penstock, b.mosquitto); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b.options.Report = func(k bench.Case, round int, broker string, r bench.Result) {
		fmt.Fprintf(c.ErrOrStderr(), "%s, round %d, %s: %s\n", k.Name, round, broker, r.Line())
	}
	comparison, err := bench.Compare(ctx, b.options)
	if err != nil {
		return err
	}
	return errors.Join(benchPrint(c.OutOrStdout(), b.asJSON, comparison, comparison.Write), b.write(comparison))
}

// write writes the tables into the page, if there is one.
func (b *benchComparison) write(c *bench.Comparison) error {
	if b.into == "" {
		return nil
	}
	page, err := os.ReadFile(b.into)
	if err != nil {
		return err
	}
	if page, err = c.Into(page); err != nil {
		return err
	}
	return os.WriteFile(b.into, page, 0o644)
}

// benchBrokers finds the programs of the brokers named.
func benchBrokers(names []string, penstock, mosquitto string) ([]bench.Broker, error) {
	var brokers []bench.Broker
	for _, name := range names {
		switch name {
		case "penstock":
			path, err := benchProgram(penstock, os.Executable)
			if err != nil {
				return nil, err
			}
			brokers = append(brokers, bench.Penstock(path))
		case "mosquitto":
			path, err := benchProgram(mosquitto, findMosquitto)
			if err != nil {
				return nil, err
			}
			brokers = append(brokers, bench.Mosquitto(path))
		default:
			return nil, fmt.Errorf("broker is %q, must be penstock or mosquitto", name)
		}
	}
	return brokers, nil
}

func benchProgram(path string, find func() (string, error)) (string, error) {
	if path != "" {
		return path, nil
	}
	return find()
}

// findMosquitto looks where Debian puts daemons, too, which a user's PATH leaves out.
func findMosquitto() (string, error) {
	if path, err := exec.LookPath("mosquitto"); err == nil {
		return path, nil
	}
	const debian = "/usr/sbin/mosquitto"
	if _, err := os.Stat(debian); err != nil {
		return "", fmt.Errorf("mosquitto is not installed (apt-get install mosquitto): %w", err)
	}
	return debian, nil
}
