package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// CompareOptions say what Compare does: every case, several rounds of it, every broker in turn in each round.
type CompareOptions struct {
	// Brokers are measured in this order; the last is the reference.
	Brokers  []Broker
	Cases    []Case
	Rounds   int
	Duration time.Duration // of each measurement; 0 leaves the cases' own
	Messages int           // of each backlog; 0 leaves the cases' own
	// Folder is where brokers keep their files; empty is the system's temporary folder. For cases with a store it must be on a disk.
	Folder string
	// Report is told of each measurement, if it is not nil.
	Report func(c Case, round int, broker string, r Result)
}

// A Comparison is the outcome: a row for each figure of each case.
type Comparison struct {
	Circumstances
	Brokers []string `json:"brokers"` // the last is the reference
	Rows    []Row    `json:"rows"`
	// Troubles tell of measurements in which messages were lost or came out of order.
	Troubles []string `json:"troubles"`
}

// A Row is one figure of every broker: the median of its rounds. A number that is not known is 0.
type Row struct {
	Group    string    `json:"group"`
	Case     string    `json:"case"`
	Figure   string    `json:"figure"`
	Medians  []float64 `json:"medians"`  // in the order of Brokers
	Ratio    float64   `json:"ratio"`    // first to reference; 0 with one broker
	Limit    float64   `json:"limit"`    // for Ratio, or for the first median if Absolute; 0 is none
	Absolute bool      `json:"absolute"` // see Limit
	AtLeast  bool      `json:"at_least"` // Limit is to be reached, not to be kept
}

// Met reports whether the row keeps its limit. A row without one does, and one that needs a reference that is not there.
func (r *Row) Met() bool {
	value := r.Ratio
	if r.Absolute {
		value = r.Medians[0]
	} else if len(r.Medians) == 1 {
		return true
	}
	switch {
	case r.Limit == 0:
		return true
	case value == 0:
		return false // it was not measured
	case r.AtLeast:
		return value >= r.Limit
	}
	return value <= r.Limit
}

// results are those of one case: by broker, one for each round.
type results [][]Result

// Compare measures brokers side by side. It starts each anew for each measurement, on a free port of
// 127.0.0.1, and stops what it started.
func Compare(ctx context.Context, o CompareOptions) (*Comparison, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	c := &Comparison{Circumstances: circumstances(&o)}
	for _, b := range o.Brokers {
		c.Brokers = append(c.Brokers, b.Name)
	}
	found := make(map[string]results)
	for _, family := range families(o.Cases) {
		for round := range o.Rounds {
			if err := o.round(ctx, family, round, found); err != nil {
				return c, err
			}
		}
		for _, k := range family {
			c.add(k, found)
		}
	}
	return c, nil
}

// check says what is impossible.
func (o *CompareOptions) check() error {
	if len(o.Brokers) == 0 || o.Rounds < 1 {
		return errors.New("bench: nothing to compare: no broker, or no round")
	}
	for i := range o.Cases {
		k := &o.Cases[i]
		if o.Duration > 0 {
			k.Options.Duration = o.Duration
		}
		if o.Messages > 0 && k.Options.Scenario == Backlog {
			k.Options.Messages = o.Messages
		}
		if err := k.Options.Check(); err != nil {
			return fmt.Errorf("bench: %s: %w", k.Name, err)
		}
	}
	if !slices.ContainsFunc(o.Cases, func(c Case) bool { return c.Group == Stored }) {
		return nil
	}
	folder := o.Folder
	if folder == "" {
		folder = os.TempDir()
	}
	memory, err := isMemory(folder)
	if err == nil && memory {
		err = fmt.Errorf("bench: %s is in memory, where syncing means nothing: name a folder on a disk", folder)
	}
	return err
}

// families are the cases, those together that are divided by one another, so that they are measured in turn.
func families(cases []Case) [][]Case {
	var all [][]Case
	at := make(map[string]int)
	for _, c := range cases {
		root := c.base()
		if root == "" {
			root = c.Name
		}
		i, known := at[root]
		if !known {
			i = len(all)
			at[root] = i
			all = append(all, nil)
		}
		all[i] = append(all[i], c)
	}
	return all
}

// round measures each case of a family with each broker once.
func (o *CompareOptions) round(ctx context.Context, family []Case, round int, found map[string]results) error {
	for _, k := range family {
		if found[k.Name] == nil {
			found[k.Name] = make(results, len(o.Brokers))
		}
		for i, b := range o.Brokers {
			r, err := o.measureOnce(ctx, b, k)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", k.Name, b.Name, err)
			}
			found[k.Name][i] = append(found[k.Name][i], r)
			if o.Report != nil {
				o.Report(k, round+1, b.Name, r)
			}
		}
	}
	return nil
}

// measureOnce starts a broker, measures it and stops it.
func (o *CompareOptions) measureOnce(ctx context.Context, b Broker, k Case) (r Result, err error) {
	s, err := start(ctx, b, &k, o.Folder)
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
	what := k.Options
	what.Address, what.PID, what.Data, what.Metrics = s.address, s.command.Process.Pid, s.data, s.metrics
	if k.Kill {
		what.Restart = s.crash
	}
	return Run(ctx, what)
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
				c.Troubles = append(c.Troubles, fmt.Sprintf("%s, %s, round %d: %s", k.Name, name, round+1, r.trouble()))
			}
		}
	}
}

func newRow(k Case, f Figure, found map[string]results) Row {
	row := Row{Group: k.Group, Case: k.Name, Figure: f.Name, Limit: f.Limit, Absolute: f.Absolute, AtLeast: f.AtLeast}
	for i, rounds := range found[k.Name] {
		m := median(rounds, f.value)
		if f.base != "" {
			m = quotient(m, median(found[f.base][i], f.value))
		}
		row.Medians = append(row.Medians, m)
	}
	if n := len(row.Medians); n > 1 {
		row.Ratio = quotient(row.Medians[0], row.Medians[n-1])
	}
	return row
}

// quotient is 0, which means that it is not known, if the divisor is not known.
func quotient(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
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
