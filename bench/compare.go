package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// CompareOptions say what Compare does: every case, several rounds of it, every broker in turn in each round.
type CompareOptions struct {
	// Brokers are measured in this order; the last is the reference.
	Brokers  []Broker
	Cases    []Case
	Rounds   int
	Duration time.Duration // of each measurement; 0 leaves the cases' own
	// Report is told of each measurement, if it is not nil.
	Report func(c Case, round int, broker string, r Result)
}

// A Comparison is the outcome: a row for each figure of each case.
type Comparison struct {
	Brokers []string `json:"brokers"` // the last is the reference
	Rows    []Row    `json:"rows"`
	// Troubles tell of measurements in which messages were lost or came out of order.
	Troubles []string `json:"troubles"`
}

// A Row is one figure of every broker: the median of its rounds.
type Row struct {
	Case     string    `json:"case"`
	Figure   string    `json:"figure"`
	Medians  []float64 `json:"medians"`  // in the order of Brokers
	Ratio    float64   `json:"ratio"`    // first to reference; 0 with one broker
	Limit    float64   `json:"limit"`    // for Ratio, or for the first median if Absolute; 0 is none
	Absolute bool      `json:"absolute"` // see Limit
}

// Met reports whether the row keeps its limit. A row without one does, and one that needs a reference that is not there.
func (r *Row) Met() bool {
	if r.Absolute {
		return r.Limit == 0 || r.Medians[0] <= r.Limit
	}
	return r.Limit == 0 || r.Ratio <= r.Limit
}

// results are those of one case: by broker, one for each round.
type results [][]Result

// Compare measures brokers side by side. It starts each anew for each measurement, on a free port of
// 127.0.0.1, and stops what it started.
func Compare(ctx context.Context, o CompareOptions) (*Comparison, error) {
	if len(o.Brokers) == 0 || o.Rounds < 1 {
		return nil, errors.New("bench: nothing to compare: no broker, or no round")
	}
	c := new(Comparison)
	for _, b := range o.Brokers {
		c.Brokers = append(c.Brokers, b.Name)
	}
	found := make(map[string]results)
	for _, k := range o.Cases {
		if o.Duration > 0 {
			k.Options.Duration = o.Duration
		}
		all, err := compareCase(ctx, o, k)
		if err != nil {
			return c, fmt.Errorf("%s: %w", k.Name, err)
		}
		found[k.Name] = all
		c.add(k, found)
	}
	return c, nil
}

func compareCase(ctx context.Context, o CompareOptions, k Case) (results, error) {
	all := make(results, len(o.Brokers))
	for round := range o.Rounds {
		for i, b := range o.Brokers {
			r, err := measureOnce(ctx, b, k.Options)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", b.Name, err)
			}
			all[i] = append(all[i], r)
			if o.Report != nil {
				o.Report(k, round+1, b.Name, r)
			}
		}
	}
	return all, nil
}

// measureOnce starts a broker, measures it and stops it.
func measureOnce(ctx context.Context, b Broker, o Options) (r Result, err error) {
	s, err := b.start(ctx, o.Window)
	if err != nil {
		return Result{}, err
	}
	defer func() {
		if stopErr := s.stop(); stopErr != nil {
			err = errors.Join(err, stopErr)
		}
		if err != nil {
			err = errors.Join(err, s.words())
		}
	}()
	o.Address, o.PID = s.address, s.command.Process.Pid
	return Run(ctx, o)
}

// add appends the rows of a case.
func (c *Comparison) add(k Case, found map[string]results) {
	for _, f := range k.Figures {
		if f.base != "" && found[f.base] == nil {
			continue // the case it is measured against was not asked for
		}
		c.Rows = append(c.Rows, newRow(k, f, found))
	}
	for i, name := range c.Brokers {
		for round, r := range found[k.Name][i] {
			if !r.Good() {
				c.Troubles = append(c.Troubles, fmt.Sprintf("%s, %s, round %d: %d lost, %d out of order, stalled: %v",
					k.Name, name, round+1, r.Lost, r.Misordered, r.Stalled))
			}
		}
	}
}

func newRow(k Case, f Figure, found map[string]results) Row {
	row := Row{Case: k.Name, Figure: f.Name, Limit: f.Limit, Absolute: f.Absolute}
	for i, rounds := range found[k.Name] {
		m := median(rounds, f.value)
		if f.base != "" {
			m /= median(found[f.base][i], f.value)
		}
		row.Medians = append(row.Medians, m)
	}
	if n := len(row.Medians); n > 1 {
		row.Ratio = row.Medians[0] / row.Medians[n-1]
	}
	return row
}

func median(rounds []Result, value func(*Result) float64) float64 {
	values := make([]float64, len(rounds))
	for i := range rounds {
		values[i] = value(&rounds[i])
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// Write writes the comparison as a table in Markdown.
func (c *Comparison) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprint(t, "| case\t| figure\t")
	for _, b := range c.Brokers {
		fmt.Fprintf(t, "| %s\t", b)
	}
	fmt.Fprint(t, "| ratio\t| limit\t|\n|---\t|---\t")
	for range c.Brokers {
		fmt.Fprint(t, "|---\t")
	}
	fmt.Fprint(t, "|---\t|---\t|\n")
	for _, r := range c.Rows {
		r.write(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, trouble := range c.Troubles {
		if _, err := fmt.Fprintln(w, "\nTrouble:", trouble); err != nil {
			return err
		}
	}
	return nil
}

func (r *Row) write(w io.Writer) {
	fmt.Fprintf(w, "| %s\t| %s\t", r.Case, r.Figure)
	for _, m := range r.Medians {
		fmt.Fprintf(w, "| %s\t", short(m))
	}
	ratio, limit := "", ""
	if r.Ratio > 0 {
		ratio = strconv.FormatFloat(r.Ratio, 'f', 2, 64)
	}
	if r.Limit > 0 {
		limit = "≤ " + strconv.FormatFloat(r.Limit, 'f', -1, 64)
		if !r.Met() {
			limit += " MISSED"
		}
	}
	fmt.Fprintf(w, "| %s\t| %s\t|\n", ratio, limit)
}

// short writes a number with the digits that mean something.
func short(v float64) string {
	decimals := 2
	switch {
	case v >= 1000:
		decimals = 0
	case v >= 10:
		decimals = 1
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}
