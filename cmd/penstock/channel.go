package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstockmq/penstock/admin"
	"github.com/penstockmq/penstock/configs"
)

func channelCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "channel",
		Short: "See and operate the channels of a running broker",
		Long: "See and operate the channels of a running broker: durable queues whose messages are spread over members. The broker is asked at\n" +
			"admin.address of the configuration, with admin.token (or PENSTOCK_ADMIN_TOKEN).",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	asked := newSubject(c, admin.ChannelsPath)
	c.AddCommand(
		channelList(asked), channelStat(asked), channelCreate(asked), channelDelete(asked), channelPeek(asked), channelEmpty(asked), channelRequeue(asked),
		channelChange(asked, "pause", "Stop a channel from handing messages out, also after a restart; it goes on taking them"),
		channelChange(asked, "resume", "Let a paused channel hand messages out again"),
	)
	return c
}

// channelChange is a command that only has a name to tell.
func channelChange(asked *subject, verb, short string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return asked.ask(c.Context(), request{method: http.MethodPost, name: args[0], what: "/" + verb}, &struct{}{})
		},
	}
}

func channelCreate(asked *subject) *cobra.Command {
	var set []string
	var file string
	c := &cobra.Command{
		Use:   "create NAME FILTER",
		Short: "Make a channel, which is kept across restarts",
		Long: "Make a channel, which is kept across restarts. It takes the messages of topics that match FILTER from now on. Settings are those of\n" +
			"channels in the configuration; what is not said has the same defaults. They are told with --set, or all of them in a file\n" +
			"that holds what would stand in the list of channels, without FILTER.",
		Example: "  penstock channel create billing 'invoices/#' --set max_attempts=5 --set dead_letter=dead/billing\n" +
			"  penstock channel create billing --file billing.yaml",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := channelText(c.InOrStdin(), file, set, args)
			if err != nil {
				return err
			}
			var made admin.ChannelDetail
			return asked.ask(c.Context(), request{method: http.MethodPost, name: args[0], text: text}, &made)
		},
	}
	c.Flags().StringArrayVar(&set, "set", nil, "a setting as key=value; repeatable")
	c.Flags().StringVar(&file, "file", "", "YAML or JSON file with the settings; - is standard input")
	return c
}

// channelText is what a channel is made of. Mistakes are found here, where they are somebody's at the command line.
func channelText(stdin io.Reader, file string, set, args []string) ([]byte, error) {
	if (file != "") == (len(args) > 1) || file != "" && len(set) > 0 {
		return nil, misused("create needs either a filter, with --set if need be, or --file")
	}
	if file != "" {
		return readFrom(stdin, file)
	}
	c := configs.Channel{Name: args[0], Filter: args[1]}
	said := []string{"name", "filter"}
	for _, pair := range set {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, misused("--set: expected key=value, got %q", pair)
		}
		if err := c.Set(key, value); err != nil {
			return nil, misused("--set %w", err)
		}
		said = append(said, key)
	}
	values, all := map[string]any{}, c.Values()
	for _, key := range said {
		values[key] = all[key]
	}
	text, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	if _, err := configs.ParseChannel(args[0], text); err != nil {
		return nil, err
	}
	return text, nil
}

func channelDelete(asked *subject) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "delete NAME",
		Short: "Remove a channel that is not in the configuration",
		Long: "Remove a channel that is not in the configuration, or no longer. One that holds messages stays, unless --force says that they may\n" +
			"be lost.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !force {
				var now admin.ChannelDetail
				if err := asked.get(c.Context(), args[0], "", &now); err != nil {
					return err
				}
				if now.Depth > 0 {
					return fmt.Errorf("%s holds %s: let its members work, empty it, or use --force", args[0], messages(uint64(now.Depth)))
				}
			}
			return asked.ask(c.Context(), request{method: http.MethodDelete, name: args[0]}, &struct{}{})
		},
	}
	c.Flags().BoolVar(&force, "force", false, "also with messages in it, which are lost")
	return c
}

func channelEmpty(asked *subject) *cobra.Command {
	return &cobra.Command{
		Use: "empty NAME", Short: "Drop every message of a channel, also those that members have", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var told struct {
				Dropped uint64 `json:"dropped"`
			}
			if err := asked.ask(c.Context(), request{method: http.MethodPost, name: args[0], what: "/empty"}, &told); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "%s: %s dropped\n", args[0], messages(told.Dropped))
			return err
		},
	}
}

func channelRequeue(asked *subject) *cobra.Command {
	return &cobra.Command{
		Use:   "requeue NAME [NUMBER...]",
		Short: "Put dead letters back into the channels that they come from",
		Long: "Put dead letters back into the channels that they come from, and into no other. NAME is the channel that keeps them, often\n" +
			"<channel>.dead; the numbers are those that peek shows. Without numbers, all are put back. Their failures are forgotten.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			asks := make(map[string][]uint64)
			for _, text := range args[1:] {
				n, err := strconv.ParseUint(text, 10, 64)
				if err != nil {
					return misused("expected numbers of messages, as peek shows them, got %q", text)
				}
				asks["numbers"] = append(asks["numbers"], n)
			}
			text, err := json.Marshal(asks)
			if err != nil {
				return err
			}
			var became admin.Requeued
			r := request{method: http.MethodPost, name: args[0], what: "/requeue", text: text}
			if err := asked.ask(c.Context(), r, &became); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %s put back, %d stay\n", args[0], messages(became.Moved), became.Stay)
			return err
		},
	}
}

// messages is a count in words.
func messages(n uint64) string {
	if n == 1 {
		return "1 message"
	}
	return fmt.Sprintf("%d messages", n)
}
