package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstockmq/penstock/admin"
)

func bridgeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "bridge",
		Short: "Show, pause and resume a running broker's bridges to others",
		Long: "Show, pause and resume a running broker's bridges to others. The broker is asked at admin.address of the configuration, with\n" +
			"admin.token (or PENSTOCK_ADMIN_TOKEN).",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	asked := newSubject(c, admin.BridgesPath)
	c.AddCommand(bridgeList(asked), bridgeStat(asked), bridgePut(asked))
	for _, w := range []struct{ verb, method, what, short string }{
		{"pause", http.MethodPost, "/pause", "End a bridge's connection; its queue goes on taking messages, also after a restart"},
		{"resume", http.MethodPost, "/resume", "Let a paused bridge connect again"},
		{"delete", http.MethodDelete, "", "Remove a bridge that is not in the configuration, with the messages in its queue"},
	} {
		c.AddCommand(&cobra.Command{
			Use: w.verb + " NAME", Short: w.short, Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error {
				return asked.ask(c.Context(), request{method: w.method, name: args[0], what: w.what}, nil)
			},
		})
	}
	return c
}

func bridgeList(asked *subject) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the bridges, one a line", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var all []admin.BridgeStatus
			if err := asked.get(c.Context(), "", "", &all); err != nil {
				return err
			}
			return listBridges(c.OutOrStdout(), all, time.Now())
		},
	}
}

func listBridges(out io.Writer, all []admin.BridgeStatus, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tSINCE\tADDRESS\tQUEUED\tAGE\tSENT/S\tRECEIVED/S\tROUND TRIP\tLAST ERROR")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%.0f\t%.0f\t%s\t%s\n", s.Name, s.State, since(s.Since, now), s.Address, s.QueueMessages,
			s.QueueAge.Round(time.Second), s.SentRate, s.ReceivedRate, s.RoundTrip.Round(10*time.Microsecond), s.Reason)
	}
	return w.Flush()
}

// since is how long ago something was.
func since(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return now.Sub(at).Round(time.Second).String()
}

func bridgeStat(asked *subject) *cobra.Command {
	return &cobra.Command{
		Use: "stat NAME", Short: "Say everything about one bridge", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var s admin.BridgeStatus
			if err := asked.get(c.Context(), args[0], "", &s); err != nil {
				return err
			}
			return showBridge(c.OutOrStdout(), &s, time.Now())
		},
	}
}

func showBridge(out io.Writer, s *admin.BridgeStatus, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	line("name", s.Name)
	line("state", s.State)
	line("since", since(s.Since, now))
	line("address", s.Address)
	line("mqtt", s.Version)
	line("client id", s.ClientID)
	line("queued", fmt.Sprintf("%d messages, %d bytes, oldest %s", s.QueueMessages, s.QueueBytes, s.QueueAge.Round(time.Second)))
	line("in flight", s.Inflight)
	line("sent", fmt.Sprintf("%d messages, %d bytes, %.1f/s, %d sent again", s.Sent, s.SentBytes, s.SentRate, s.Resent))
	line("received", fmt.Sprintf("%d messages, %d bytes, %.1f/s", s.Received, s.ReceivedBytes, s.ReceivedRate))
	line("round trip", s.RoundTrip.Round(time.Microsecond))
	line("connects", s.Connects)
	for _, reason := range slices.Sorted(maps.Keys(s.Dropped)) {
		if n := s.Dropped[reason]; n > 0 {
			line("dropped", fmt.Sprintf("%d, %s", n, reason))
		}
	}
	for _, filter := range s.Refused {
		line("refused", filter)
	}
	if s.Reason != "" {
		line("last error", fmt.Sprintf("%s, %s ago", s.Reason, since(s.ReasonAt, now)))
	}
	return w.Flush()
}

func bridgePut(asked *subject) *cobra.Command {
	return &cobra.Command{
		Use: "put NAME FILE", Short: "Make or change a bridge at run time; it is kept across restarts",
		Long: "Make or change a bridge at run time; it is kept across restarts. FILE holds what would stand in the list of bridges of a\n" +
			"configuration; - is standard input. Bridges of the configuration file change there, and on SIGHUP.",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := readFrom(c.InOrStdin(), args[1])
			if err != nil {
				return err
			}
			return asked.ask(c.Context(), request{method: http.MethodPut, name: args[0], text: text}, nil)
		},
	}
}
