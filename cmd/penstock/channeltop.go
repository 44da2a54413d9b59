package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/penstockmq/penstock/admin"
)

// channelOrders say which of two channels stands first in the live table.
var channelOrders = map[string]func(a, b *admin.ChannelStatus) int{
	"name":      func(a, b *admin.ChannelStatus) int { return 0 },
	"depth":     func(a, b *admin.ChannelStatus) int { return cmp.Compare(b.Depth, a.Depth) },
	"in-flight": func(a, b *admin.ChannelStatus) int { return cmp.Compare(b.InFlight, a.InFlight) },
	"oldest":    func(a, b *admin.ChannelStatus) int { return cmp.Compare(b.OldestAge, a.OldestAge) },
	"in":        func(a, b *admin.ChannelStatus) int { return cmp.Compare(b.RateIn, a.RateIn) },
	"out":       func(a, b *admin.ChannelStatus) int { return cmp.Compare(b.RateOut, a.RateOut) },
}

// A watch is the command line of channel stat.
type watch struct {
	asked    *subject
	name     string // empty is all channels
	interval time.Duration
	count    int // of looks; 0 is without end on a terminal, once elsewhere
	order    string
	asJSON   bool
	out      io.Writer
}

func channelStat(asked *subject) *cobra.Command {
	w := &watch{asked: asked}
	c := &cobra.Command{
		Use:   "stat [NAME]",
		Short: "Watch the channels, as top does, or one of them with its members",
		Long: "Watch the channels, as top does, or everything about one of them with its members and the share of each. On a terminal it goes on until\n" +
			"it is interrupted; elsewhere it prints once, or -n times.",
		Example: "  penstock channel stat --sort oldest\n  penstock channel stat billing -n 1\n  penstock channel stat --json -n 60 -i 1s > minute.json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				w.name = args[0]
			}
			w.out = c.OutOrStdout()
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return w.run(ctx)
		},
	}
	c.Flags().DurationVarP(&w.interval, "interval", "i", 2*time.Second, "time between looks, at least 100ms")
	c.Flags().IntVarP(&w.count, "count", "n", 0, "how often to look; 0 is without end on a terminal, and once elsewhere")
	c.Flags().StringVar(&w.order, "sort", "depth", "what comes first: "+strings.Join(slices.Sorted(maps.Keys(channelOrders)), ", "))
	c.Flags().BoolVar(&w.asJSON, "json", false, "print a line of JSON for each channel and look")
	return c
}

// run looks again and again. On a terminal a broker that does not answer for a while is waited for.
func (w *watch) run(ctx context.Context) error {
	if w.interval < 100*time.Millisecond || w.count < 0 {
		return misused("expected an --interval of at least 100ms, and a --count of 0 or more")
	}
	if channelOrders[w.order] == nil {
		return misused("--sort: expected one of %s, got %q", strings.Join(slices.Sorted(maps.Keys(channelOrders)), ", "), w.order)
	}
	live, height := onTerminal(w.out)
	live = live && !w.asJSON
	if w.count == 0 && !live {
		w.count = 1
	}
	ticker := time.NewTicker(w.interval)
	defer ticker.Stop()
	for n := 1; ; n++ {
		page, err := w.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (!live || n == 1):
			return err
		case err != nil:
			page = []byte(oneLine(err) + "\n")
		}
		if err := w.show(page, n, live, height); err != nil || n == w.count {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// onTerminal tells whether somebody looks at it, and how many lines there are.
func onTerminal(out io.Writer) (live bool, height int) {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false, 0
	}
	_, height, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return true, 0
	}
	return true, height
}

// clearScreen has a terminal begin at the top.
const clearScreen = "\x1b[H\x1b[J"

// show prints a page, in place of the last on a terminal, with an empty line in front elsewhere.
func (w *watch) show(page []byte, n int, live bool, height int) error {
	switch {
	case live:
		page = append([]byte(clearScreen), firstLines(page, height-1)...)
	case n > 1 && !w.asJSON:
		page = append([]byte("\n"), page...)
	}
	_, err := w.out.Write(page)
	return err
}

// firstLines are the first few lines of a text; all if most is not known.
func firstLines(text []byte, most int) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	if most < 1 || len(lines) <= most {
		return text
	}
	return bytes.Join(lines[:most], nil)
}

// look asks the broker and makes a page of the answer.
func (w *watch) look(ctx context.Context) ([]byte, error) {
	var page bytes.Buffer
	var err error
	if w.name != "" {
		err = w.lookAtOne(ctx, &page)
	} else {
		err = w.lookAtAll(ctx, &page)
	}
	return page.Bytes(), err
}

func (w *watch) lookAtOne(ctx context.Context, page io.Writer) error {
	d := make([]admin.ChannelDetail, 1)
	if err := w.asked.get(ctx, w.name, "", &d[0]); err != nil {
		return err
	}
	if w.asJSON {
		return printLines(page, d)
	}
	return showChannel(page, &d[0])
}

func (w *watch) lookAtAll(ctx context.Context, page io.Writer) error {
	var all []admin.ChannelStatus
	if err := w.asked.get(ctx, "", "", &all); err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b admin.ChannelStatus) int { return channelOrders[w.order](&a, &b) })
	if w.asJSON {
		return printLines(page, all)
	}
	return topChannels(page, all, time.Now())
}

// topChannels prints the totals and a line for each channel.
func topChannels(out io.Writer, all []admin.ChannelStatus, now time.Time) error {
	depth, flight := 0, 0
	for i := range all {
		depth += all[i].Depth
		flight += all[i].InFlight
	}
	fmt.Fprintf(out, "%s  channels %d, messages %d, in flight %d\n\n", now.Format(time.TimeOnly), len(all), depth, flight)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "DEPTH\tIN FLIGHT\tDEFERRED\tIN/S\tOUT/S\tREQUEUED\tTIMED OUT\tDEAD\tMEMBERS\tOLDEST\tDRAIN\tSTATE\t  NAME")
	for i := range all {
		s := &all[i]
		fmt.Fprintf(w, "%d\t%d\t%d\t%.1f\t%.1f\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t  %s\n", s.Depth, s.InFlight, s.Deferred, s.RateIn, s.RateOut,
			s.Requeued, s.TimedOut, s.DeadLettered, membersOf(s), age(s), drain(s), channelState(s), s.Name)
	}
	return w.Flush()
}
