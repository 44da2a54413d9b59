package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"time"
)

// CompareOptions say what Compare does: every case, several rounds of it, every broker in turn in each round.
type CompareOptions struct {
	// Brokers are measured in this order; the last is the reference.
	Brokers  []Broker
	Cases    []Case
	Rounds   int           // 0 leaves the cases' own
	Duration time.Duration // of each measurement; 0 leaves the cases' own
	Messages int           // of each backlog; 0 leaves the cases' own
	// Limit is how long it may take: nothing is begun later. 0 is for ever.
	Limit time.Duration
	// State is a file with what was measured, so that a comparison which was interrupted or had no time goes on where it stood; empty
	// for none. It is removed when there is nothing left to measure.
	State string
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
	// Troubles tell of measurements in which messages were lost or came out of order, or that failed.
	Troubles []Trouble `json:"troubles"`
	// Unmeasured are the cases for which there was no time.
	Unmeasured []string `json:"unmeasured,omitempty"`
}

// A Trouble is what went wrong with a measurement of a case.
type Trouble struct {
	Case string `json:"case"`
	Text string `json:"text"`
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
	FlashMQ  string    `json:"flashmq,omitempty"`
	Detail   bool      `json:"detail,omitempty"`
	// Zeros tells of which brokers 0 is what was measured; nil if of none.
	Zeros []bool `json:"zeros,omitempty"`
}

// zero reports whether a broker's median was measured and is 0.
func (r *Row) zero(i int) bool { return i < len(r.Zeros) && r.Zeros[i] }

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
	case value == 0 && !(r.Absolute && r.zero(0)):
		return false // it was not measured
	case r.AtLeast:
		return value >= r.Limit
	}
	return value <= r.Limit
}

// results are those of one case: by broker, one for each round.
type results [][]Result

// A comparing is a comparison on its way.
type comparing struct {
	CompareOptions
	found  map[string]results
	failed map[string]error // measurements that are not tried again, by case and broker
	state  *state
	until  time.Time // zero for ever
}

// Compare measures brokers side by side. It starts each anew for each measurement, on a free port of
// 127.0.0.1, and stops what it started. A measurement that fails does not keep it from the others: the comparison is returned
// beside the error.
func Compare(ctx context.Context, o CompareOptions) (*Comparison, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	c := &Comparison{Circumstances: circumstances(&o)}
	for _, b := range o.Brokers {
		c.Brokers = append(c.Brokers, b.Name)
	}
	all := &comparing{CompareOptions: o, found: make(map[string]results), failed: make(map[string]error)}
	if o.Limit > 0 {
		all.until = c.Began.Add(o.Limit)
	}
	var err error
	if all.state, err = openState(o.State, c.Began); err != nil {
		return nil, err
	}
	err = all.run(ctx)
	err = errors.Join(err, all.state.close(err == nil && all.complete()))
	all.tell(c)
	return c, err
}

// run measures round by round, so that a comparison that is cut short has measured as much of each case.
func (a *comparing) run(ctx context.Context) error {
	var rounds int
	for _, k := range a.Cases {
		rounds = max(rounds, a.rounds(k))
	}
	for round := range rounds {
		for _, family := range families(a.Cases) {
			if !a.until.IsZero() && time.Now().After(a.until) {
				return nil
			}
			if err := a.round(ctx, family, round); err != nil {
				return err
			}
		}
	}
	return errors.Join(slices.Collect(maps.Values(a.failed))...)
}

// rounds is how often a case is measured.
func (a *comparing) rounds(k Case) int {
	if a.Rounds > 0 {
		return a.Rounds
	}
	return k.Rounds
}

// complete reports whether nothing is left to measure.
func (a *comparing) complete() bool {
	for _, k := range a.Cases {
		for i, b := range a.Brokers {
			if b.knows(&k) && (a.found[k.Name] == nil || len(a.found[k.Name][i]) < a.rounds(k)) {
				return false
			}
		}
	}
	return true
}

// tell puts what was found into a comparison.
func (a *comparing) tell(c *Comparison) {
	for _, k := range a.Cases {
		rounds := 0
		for _, r := range a.found[k.Name] {
			rounds = max(rounds, len(r))
		}
		if rounds == 0 {
			c.Unmeasured = append(c.Unmeasured, k.Name)
			continue
		}
		c.count(rounds)
		c.add(k, a.found)
		for _, b := range a.Brokers {
			if err := a.failed[k.Name+", "+b.Name]; err != nil {
				c.Troubles = append(c.Troubles, Trouble{k.Name, err.Error()})
			}
		}
	}
}

// check says what is impossible.
func (o *CompareOptions) check() error {
	if len(o.Brokers) == 0 || o.Rounds < 0 || o.Limit < 0 {
		return errors.New("bench: nothing to compare: no broker, or less than no round or no time")
	}
	o.Cases = slices.Clone(o.Cases)
	for i := range o.Cases {
		k := &o.Cases[i]
		if o.Duration > 0 {
			k.Options.Duration = o.Duration
		}
		if o.Messages > 0 && k.Options.Scenario == Backlog {
			k.Options.Messages = o.Messages
		}
		k.Rounds = max(k.Rounds, 1)
		if err := k.Options.Check(); err != nil {
			return fmt.Errorf("bench: %s: %w", k.Name, err)
		}
	}
	return o.checkFolder()
}

// checkFolder refuses to compare stores where nothing is on a disk.
func (o *CompareOptions) checkFolder() error {
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
func (a *comparing) round(ctx context.Context, family []Case, round int) error {
	for _, k := range family {
		if round >= a.rounds(k) {
			continue
		}
		if a.found[k.Name] == nil {
			a.found[k.Name] = make(results, len(a.Brokers))
		}
		for i, b := range a.Brokers {
			if err := a.turn(ctx, k, i, round); err != nil {
				return fmt.Errorf("%s: %s: %w", k.Name, b.Name, err)
			}
		}
	}
	return nil
}

// turn measures a case with one broker, unless that is known, cannot be or has failed before. Only the end of ctx is an error.
func (a *comparing) turn(ctx context.Context, k Case, i, round int) error {
	b := a.Brokers[i]
	name := k.Name + ", " + b.Name
	rounds := &a.found[k.Name][i]
	if len(*rounds) > round || a.failed[name] != nil || !b.knows(&k) {
		return nil
	}
	r, known := a.state.find(&k, &b, round)
	if !known {
		var err error
		if r, err = a.measureOnce(ctx, b, k); ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if err == nil {
			err = a.state.keep(&k, &b, round, &r)
		}
		if err != nil {
			a.failed[name] = fmt.Errorf("%s, round %d: %w", name, round+1, err)
			return nil
		}
	}
	*rounds = append(*rounds, r)
	if a.Report != nil {
		a.Report(k, round+1, b.Name, r)
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
	what.Address, what.PIDs, what.Data, what.Metrics = s.address, s.everyone(), s.data, s.metrics
	if s.hub != nil {
		what.To = s.hub.address
	}
	if k.Ending != NoEnding {
		what.Restart = func(ctx context.Context) (Restarted, error) { return s.again(ctx, k.Ending) }
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
				c.Troubles = append(c.Troubles, Trouble{k.Name, fmt.Sprintf("%s, %s, round %d: %s", k.Name, name, round+1, r.trouble())})
			}
		}
	}
}

func newRow(k Case, f Figure, found map[string]results) Row {
	row := Row{Group: k.Group, Case: k.Name, Figure: f.Name, Limit: f.Limit, Absolute: f.Absolute, AtLeast: f.AtLeast, FlashMQ: f.FlashMQ, Detail: f.Detail}
	for i, rounds := range found[k.Name] {
		m := f.of(rounds, found[f.base], i)
		if f.zeros {
			row.Zeros = append(row.Zeros, m == 0)
		}
		if math.IsNaN(m) {
			m = 0
		}
		row.Medians = append(row.Medians, m)
	}
	if n := len(row.Medians); n > 1 {
		row.Ratio = quotient(row.Medians[0], row.Medians[n-1])
	}
	return row
}

// of is the figure from the rounds of a broker, number i, and those of all with the base. Unknown is NaN with zeros and else 0.
func (f *Figure) of(rounds []Result, base results, i int) float64 {
	switch {
	case f.beside != nil:
		var values []float64
		for n := range min(len(rounds), len(base[i])) {
			values = append(values, f.beside(&rounds[n], &base[i][n]))
		}
		return middle(values)
	case f.base != "":
		return quotient(median(rounds, f.value), median(base[i], f.value))
	case f.zeros && len(rounds) == 0:
		return math.NaN()
	}
	return median(rounds, f.value)
}

// quotient is 0, which means that it is not known, if the divisor is not known.
func quotient(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// median is 0, which means that it is not known, without rounds.
func median(rounds []Result, value func(*Result) float64) float64 {
	if len(rounds) == 0 {
		return 0
	}
	values := make([]float64, len(rounds))
	for i := range rounds {
		values[i] = value(&rounds[i])
	}
	return middle(values)
}

// middle is the median of the values that are known, and NaN if none is.
func middle(values []float64) float64 {
	values = slices.DeleteFunc(values, math.IsNaN)
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}
