package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/penstockmq/penstock/bench"
)

// A benchComparison is what the command line says of one.
type benchComparison struct {
	options        bench.CompareOptions
	brokers, cases []string
	paths          map[string]string // of brokers, where they are not looked for
	into           string            // page to write the tables to
	asJSON         bool
}

// benchCompare is "penstock bench compare": several brokers side by side.
func benchCompare() *cobra.Command {
	var b benchComparison
	c := &cobra.Command{
		Use:   "compare",
		Short: "Start brokers in turn and measure them side by side; the last named is the reference",
		Long: "Start brokers in turn, each anew for each measurement, and measure them side by side. Cases with a store write to disk:\n" +
			"Penstock with storage.sync always, mosquitto with its persistence on, which writes now and then. For a bridge two of a kind are\n" +
			"started. Cases whose name ends in -uncollected, and those with channels, are Penstock's alone.",
		Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error { return b.run(c) },
	}
	f := c.Flags()
	f.StringSliceVar(&b.brokers, "brokers", nil, "what to compare (default of "+strings.Join(bench.Brokers, ", ")+" what is installed)")
	f.StringSliceVar(&b.cases, "cases", nil, "what to measure: cases, or the groups live and stored (default everything)")
	f.StringToStringVar(&b.paths, "path", nil, "programs of brokers, as mosquitto=/opt/mosquitto (default penstock this one, others from PATH)")
	f.IntVar(&b.options.Rounds, "rounds", 0, "measurements of each case and broker; the medians count (default as the case says, 3 or 5)")
	f.DurationVar(&b.options.Duration, "duration", 0, "how long each measures (default as the case says)")
	f.IntVar(&b.options.Messages, "messages", 0, "messages of each backlog (default as the case says)")
	f.DurationVar(&b.options.Limit, "limit", 0, "begin nothing after this time: later rounds are left out then (default none)")
	f.StringVar(&b.options.State, "state", "", "file to note measurements in, from which the same command goes on if it was interrupted or had no time")
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
	if b.options.Brokers, err = b.find(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b.options.Report = func(k bench.Case, round int, broker string, r bench.Result) {
		fmt.Fprintf(c.ErrOrStderr(), "%s, round %d, %s: %s\n", k.Name, round, broker, r.Line())
	}
	comparison, err := bench.Compare(ctx, b.options)
	if comparison == nil || len(comparison.Rows) == 0 {
		return err
	}
	err = errors.Join(err, benchPrint(c.OutOrStdout(), b.asJSON, comparison, comparison.Write))
	if ctx.Err() != nil {
		return err // what was not finished is no page
	}
	return errors.Join(err, b.write(comparison))
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

// find finds the programs of the brokers named, which must be there. If none are, it finds those that are.
func (b *benchComparison) find() ([]bench.Broker, error) {
	names := b.brokers
	if len(names) == 0 {
		names = bench.Brokers
	}
	for name := range b.paths {
		if _, err := bench.NewBroker(name, ""); err != nil {
			return nil, err
		}
	}
	var found []bench.Broker
	for _, name := range names {
		broker, err := bench.NewBroker(name, "")
		if err != nil {
			return nil, err
		}
		broker.Path, err = b.program(name)
		switch {
		case err == nil:
			found = append(found, broker)
		case len(b.brokers) > 0 || name == bench.Brokers[len(bench.Brokers)-1]: // without the reference there are no ratios
			return nil, err
		}
	}
	return found, nil
}

// program is where a broker is, also where Debian puts daemons, which a user's PATH leaves out.
func (b *benchComparison) program(name string) (string, error) {
	if path := b.paths[name]; path != "" {
		return path, nil
	}
	if name == "penstock" {
		return os.Executable()
	}
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	debian := "/usr/sbin/" + name
	if _, statErr := os.Stat(debian); statErr == nil {
		return debian, nil
	}
	return "", fmt.Errorf("%s is not installed: %w", name, err)
}
