package main

import (
	"encoding/json"
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
		Short: "Measure a broker: deliveries, processor time, memory, latency",
	}
	about := map[bench.Scenario]string{
		bench.Pairs:   "n publishers to n subscribers, each pair on its own topic",
		bench.FanOut:  "one publisher to n subscribers",
		bench.FanIn:   "n publishers to m subscribers on a wildcard",
		bench.Share:   "n publishers to a shared subscription of m members",
		bench.Idle:    "n connections with a subscription each: memory and connects a second",
		bench.Subs:    "pairs beside many subscriptions that match nothing: cost of a publish",
		bench.Latency: "pairs at a fixed rate: how long a message takes",
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
	f.DurationVar(&o.Duration, "duration", o.Duration, "how long to measure")
	if o.Scenario != bench.FanOut {
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
	if o.Scenario != bench.Idle {
		f.IntVar(&o.Size, "size", o.Size, "bytes of a payload")
		f.IntVar(&o.Window, "window", o.Window, "messages of a publisher that may be on their way")
		f.DurationVar(&o.Rest, "rest", o.Rest, "how long to sleep between two looks at the sockets")
		f.DurationVar(&o.Warmup, "warmup", o.Warmup, "how long to run before measuring")
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

// benchCompare is "penstock bench compare": several brokers side by side.
func benchCompare() *cobra.Command {
	var o bench.CompareOptions
	var brokers, cases []string
	var mosquitto, penstock string
	var asJSON bool
	c := &cobra.Command{
		Use:   "compare",
		Short: "Start brokers in turn and measure them side by side; the last named is the reference",
		Args:  cobra.NoArgs, SilenceUsage: true,
	}
	f := c.Flags()
	f.StringSliceVar(&brokers, "brokers", []string{"penstock", "mosquitto"}, "what to compare")
	f.StringSliceVar(&cases, "cases", nil, "what to measure (default everything)")
	f.StringVar(&penstock, "penstock", "", "path of the penstock program (default this one)")
	f.StringVar(&mosquitto, "mosquitto", "", "path of the mosquitto program (default from PATH, then /usr/sbin)")
	f.IntVar(&o.Rounds, "rounds", 3, "measurements of each case and broker; the medians count")
	f.DurationVar(&o.Duration, "duration", 0, "how long each measures (default as the case says)")
	f.BoolVar(&asJSON, "json", false, "print the comparison as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		var err error
		if o.Cases, err = bench.SelectCases(cases); err != nil {
			return err
		}
		if o.Brokers, err = benchBrokers(brokers, penstock, mosquitto); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		o.Report = func(k bench.Case, round int, broker string, r bench.Result) {
			fmt.Fprintf(c.ErrOrStderr(), "%s, round %d, %s: %.0f deliveries/s, %.2f µs broker CPU a delivery, %.1f KB a connection\n",
				k.Name, round, broker, r.DeliveriesPerSecond, r.BrokerMicros, r.RSSPerConnection/1000)
		}
		comparison, err := bench.Compare(ctx, o)
		if err != nil {
			return err
		}
		return benchPrint(c.OutOrStdout(), asJSON, comparison, comparison.Write)
	}
	return c
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
