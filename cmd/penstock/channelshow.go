package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/penstockmq/penstock/admin"
)

func channelList(asked *subject) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "ls", Short: "List the channels, one a line", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var all []admin.ChannelStatus
			if err := asked.get(c.Context(), "", "", &all); err != nil {
				return err
			}
			if asJSON {
				return printLines(c.OutOrStdout(), all)
			}
			return listChannels(c.OutOrStdout(), all)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each")
	return c
}

// printLines prints each value as a line of JSON.
func printLines[T any](out io.Writer, values []T) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for i := range values {
		if err := encoder.Encode(&values[i]); err != nil {
			return err
		}
	}
	return nil
}

func listChannels(out io.Writer, all []admin.ChannelStatus) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tFILTER\tORIGIN\tSTATE\tDEPTH\tIN FLIGHT\tDEFERRED\tMEMBERS\tOLDEST\tDRAIN")
	for i := range all {
		s := &all[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\n", s.Name, visible(s.Filter), s.Origin, channelState(s), s.Depth, s.InFlight, s.Deferred,
			membersOf(s), age(s), drain(s))
	}
	return w.Flush()
}

// channelState is what an operator should know first.
func channelState(s *admin.ChannelStatus) string {
	switch {
	case s.Paused:
		return "paused"
	case s.MembersOnline == 0:
		return "no members"
	}
	return "working"
}

func membersOf(s *admin.ChannelStatus) string {
	return fmt.Sprintf("%d/%d", s.MembersOnline, s.MemberCount)
}

func age(s *admin.ChannelStatus) string {
	if s.Depth == 0 {
		return "-"
	}
	return s.OldestAge.Round(time.Second).String()
}

func drain(s *admin.ChannelStatus) string {
	switch {
	case s.Depth == 0:
		return "-"
	case s.Drain < 0:
		return "never"
	}
	return s.Drain.Round(time.Second).String()
}

// showChannel prints everything about a channel.
func showChannel(out io.Writer, d *admin.ChannelDetail) error {
	rows := [][2]string{
		{"name", d.Name}, {"filter", visible(d.Filter)}, {"origin", d.Origin}, {"created", d.Created.Format(time.RFC3339)}, {"state", channelState(&d.ChannelStatus)},
		{"depth", fmt.Sprintf("%s, %s", messages(uint64(d.Depth)), inBytes(d.Bytes))},
		{"  in flight", fmt.Sprint(d.InFlight)},
		{"  deferred", fmt.Sprint(d.Deferred)},
		{"  oldest", age(&d.ChannelStatus)},
		{"  time to drain", drain(&d.ChannelStatus)},
		{"rates", fmt.Sprintf("%.1f/s in, %.1f/s out", d.RateIn, d.RateOut)},
		{"since the start", ""},
		{"  came in", fmt.Sprint(d.Queued)},
		{"  handed out", fmt.Sprint(d.Delivered)},
		{"  acknowledged", fmt.Sprintf("%d, of these unconfirmed with QoS 0: %d", d.Acked, d.Unconfirmed)},
		{"  requeued", fmt.Sprint(d.Requeued)},
		{"  failed", fmt.Sprintf("%d, of these timed out: %d", d.Failed, d.TimedOut)},
		{"  dead letters", fmt.Sprint(d.DeadLettered)},
		{"  put back", fmt.Sprint(d.PutBack)},
	}
	for _, reason := range slices.Sorted(maps.Keys(d.Dropped)) {
		if n := d.Dropped[reason]; n > 0 {
			rows = append(rows, [2]string{"  dropped", fmt.Sprintf("%d, %s", n, reason)})
		}
	}
	rows = append(rows, [2]string{"settings", ""})
	for _, key := range slices.Sorted(maps.Keys(d.Settings)) {
		if key != "name" && key != "filter" {
			rows = append(rows, [2]string{"  " + key, settingText(d.Settings[key])})
		}
	}
	if err := printTable(out, rows); err != nil {
		return err
	}
	return showMembers(out, d.Members)
}

// settingText is the value of a setting as an operator would write it.
func settingText(value any) string {
	if n, ok := value.(float64); ok { // what JSON makes of a number
		return fmt.Sprintf("%.0f", n)
	}
	return visible(fmt.Sprint(value))
}

func showMembers(out io.Writer, members []admin.ChannelMember) error {
	if len(members) == 0 {
		_, err := fmt.Fprintln(out, "no members")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nMEMBER\tSUBSCRIPTION\tQOS\tONLINE\tIN FLIGHT\tHANDED OUT\tACKNOWLEDGED\tSHARE")
	for _, m := range members {
		online := "no"
		if m.Online {
			online = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%d\t%d\t%.1f%%\n", visible(m.Client), visible(m.Filter), m.QoS, online, m.InFlight, m.Delivered, m.Acked, m.Share*100)
	}
	return w.Flush()
}

func channelPeek(asked *subject) *cobra.Command {
	var count int
	var from uint64
	var asJSON bool
	c := &cobra.Command{
		Use:   "peek NAME",
		Short: "Show messages of a channel, the oldest first, and change nothing",
		Long: "Show messages of a channel, the oldest first, and change nothing. A payload is shown as a line, cut if it is long; --json has all\n" +
			"of it. DELIVERED and FAILED count what is known in memory; a message that waits for another attempt says when.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var found []admin.PeekedMessage
			if err := asked.get(c.Context(), args[0], fmt.Sprintf("/peek?n=%d&from=%d", count, from), &found); err != nil {
				return err
			}
			if asJSON {
				return printLines(c.OutOrStdout(), found)
			}
			return showMessages(c.OutOrStdout(), found, time.Now())
		},
	}
	c.Flags().IntVarP(&count, "count", "n", 10, "how many at most, up to 1000")
	c.Flags().Uint64Var(&from, "from", 0, "number of a message to begin with")
	c.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each")
	return c
}

func showMessages(out io.Writer, found []admin.PeekedMessage, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NUMBER\tTOPIC\tAGE\tDELIVERED\tFAILED\tSTATE\tPAYLOAD")
	for i := range found {
		m := &found[i]
		fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%d\t%s\t%s\n", m.Number, visible(m.Topic), now.Sub(m.Received).Round(time.Second), m.Deliveries, m.Failures,
			messageState(m, now), payloadLine(m))
	}
	return w.Flush()
}

func messageState(m *admin.PeekedMessage, now time.Time) string {
	switch {
	case m.Client != "":
		return "with " + visible(m.Client)
	case m.Due.After(now):
		return "again in " + m.Due.Sub(now).Round(time.Second).String()
	case m.DeadLetter:
		return "dead letter of " + deadLetterOf(m)
	}
	return "waits"
}

// deadLetterOf is the channel that a dead letter comes from.
func deadLetterOf(m *admin.PeekedMessage) string {
	i := slices.IndexFunc(m.User, func(u admin.UserProperty) bool { return u.Name == "dead-letter-channel" })
	if i < 0 {
		return "?"
	}
	return visible(m.User[i].Value)
}

// payloadShown bounds a payload in a table, in characters.
const payloadShown = 60

// payloadLine is a payload in one line, with what a terminal would obey made visible.
func payloadLine(m *admin.PeekedMessage) string {
	if len(m.Base64) > 0 {
		return fmt.Sprintf("(%d bytes)", len(m.Base64))
	}
	text := []rune(visible(m.Payload))
	if len(text) > payloadShown {
		return string(text[:payloadShown]) + "..."
	}
	return string(text)
}

// visible is a text that somebody else chose, with what a terminal would obey, or a table take for its own, spelt out.
func visible(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return text
	}
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}
