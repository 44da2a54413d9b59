package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstockmq/penstock/admin"
	"github.com/penstockmq/penstock/configs"
)

// bridgeAsked says which broker the bridge commands ask.
type bridgeAsked struct{ file, address string }

func bridgeCommand() *cobra.Command {
	asked := &bridgeAsked{}
	c := &cobra.Command{
		Use:   "bridge",
		Short: "Show, pause and resume a running broker's bridges to others",
		Long: "Show, pause and resume a running broker's bridges to others. The broker is asked at admin.address of the configuration, with\n" +
			"admin.token (or PENSTOCK_ADMIN_TOKEN).",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.PersistentFlags().StringVar(&asked.file, "config", "", "configuration file of the broker")
	c.PersistentFlags().StringVar(&asked.address, "address", "", "host:port of the broker's HTTP side, instead of admin.address")
	c.AddCommand(bridgeList(asked), bridgeStat(asked), bridgePut(asked))
	for _, w := range []struct{ name, method, path, short string }{
		{"pause", http.MethodPost, "/pause", "End a bridge's connection; its queue goes on taking messages, also after a restart"},
		{"resume", http.MethodPost, "/resume", "Let a paused bridge connect again"},
		{"delete", http.MethodDelete, "", "Remove a bridge that is not in the configuration, with the messages in its queue"},
	} {
		c.AddCommand(&cobra.Command{
			Use: w.name + " NAME", Short: w.short, Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error {
				body, err := asked.ask(c.Context(), w.method, admin.BridgesPath+"/"+url.PathEscape(args[0])+w.path, nil)
				if err != nil {
					return err
				}
				return body.Close()
			},
		})
	}
	return c
}

// ask sends a request and returns the body of the answer, which is to be closed.
func (a *bridgeAsked) ask(ctx context.Context, method, path string, text io.Reader) (io.ReadCloser, error) {
	cfg, err := configs.Load(a.file, nil)
	if err != nil {
		return nil, err
	}
	o, err := newOperator(&cfg, a.address)
	if err != nil {
		return nil, err
	}
	return o.ask(ctx, method, path, text)
}

func bridgeList(asked *bridgeAsked) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the bridges, one a line", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), askTimeout)
			defer cancel()
			body, err := asked.ask(ctx, http.MethodGet, admin.BridgesPath, nil)
			if err != nil {
				return err
			}
			defer body.Close()
			var all []admin.BridgeStatus
			if err := json.NewDecoder(io.LimitReader(body, bridgesMax)).Decode(&all); err != nil {
				return err
			}
			return listBridges(c.OutOrStdout(), all, time.Now())
		},
	}
}

// bridgesMax bounds what is read of the list of bridges.
const bridgesMax = 16 << 20

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

func bridgeStat(asked *bridgeAsked) *cobra.Command {
	return &cobra.Command{
		Use: "stat NAME", Short: "Say everything about one bridge", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), askTimeout)
			defer cancel()
			body, err := asked.ask(ctx, http.MethodGet, admin.BridgesPath+"/"+url.PathEscape(args[0]), nil)
			if err != nil {
				return err
			}
			defer body.Close()
			var s admin.BridgeStatus
			if err := json.NewDecoder(io.LimitReader(body, bridgesMax)).Decode(&s); err != nil {
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

func bridgePut(asked *bridgeAsked) *cobra.Command {
	return &cobra.Command{
		Use: "put NAME FILE", Short: "Make or change a bridge at run time; it is kept across restarts",
		Long: "Make or change a bridge at run time; it is kept across restarts. FILE holds what would stand in the list of bridges of a\n" +
			"configuration; - is standard input. Bridges of the configuration file change there, and on SIGHUP.",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			from := c.InOrStdin()
			if args[1] != "-" {
				f, err := os.Open(args[1])
				if err != nil {
					return err
				}
				defer f.Close()
				from = f
			}
			body, err := asked.ask(c.Context(), http.MethodPut, admin.BridgesPath+"/"+url.PathEscape(args[0]), from)
			if err != nil {
				return err
			}
			return body.Close()
		},
	}
}
