package bench

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Circumstances are what a reader of figures must know of how they came about.
type Circumstances struct {
	Began    time.Time `json:"began"`
	Machine  string    `json:"machine"`
	Load     string    `json:"load"` // runnable tasks, mean of the minute before it began; empty if not known
	Versions []string  `json:"versions"`
	// Fewest and Most are how many rounds cases had.
	Fewest   int           `json:"fewest_rounds"`
	Most     int           `json:"most_rounds"`
	Duration time.Duration `json:"duration"`           // of each measurement, if not the cases' own
	Messages int           `json:"messages,omitempty"` // of each backlog, if not the cases' own
}

func circumstances(o *CompareOptions) Circumstances {
	c := Circumstances{
		Began: time.Now(), Duration: o.Duration, Messages: o.Messages,
		Machine: machine(readText("/proc/cpuinfo"), readText("/proc/sys/kernel/osrelease")),
	}
	c.Load, _, _ = strings.Cut(readText("/proc/loadavg"), " ")
	for i := range o.Brokers {
		c.Versions = append(c.Versions, o.Brokers[i].said())
	}
	return c
}

// readText is empty for a file that cannot be read.
func readText(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(data)
}

// machine names processors and kernel, from the texts of /proc/cpuinfo and /proc/sys/kernel/osrelease.
func machine(cpuinfo, kernel string) string {
	text := strconv.Itoa(runtime.NumCPU()) + " processors"
	for line := range strings.Lines(cpuinfo) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "model name" {
			text += " (" + strings.TrimSpace(value) + ")"
			break
		}
	}
	return text + ", " + runtime.GOOS + " " + strings.TrimSpace(kernel)
}

// count notes how many rounds a case had.
func (c *Circumstances) count(rounds int) {
	if c.Fewest == 0 {
		c.Fewest = rounds
	}
	c.Fewest, c.Most = min(c.Fewest, rounds), max(c.Most, rounds)
}

func (c *Circumstances) write(w io.Writer) {
	fmt.Fprintf(w, "Measured %s on %s", c.Began.Format("2006-01-02 15:04"), c.Machine)
	if c.Load != "" {
		fmt.Fprintf(w, ", load %s when it began", c.Load)
	}
	fmt.Fprintf(w, ".\n%s. Medians of %d", strings.Join(c.Versions, "; "), c.Fewest)
	if c.Most > c.Fewest {
		fmt.Fprintf(w, " to %d", c.Most)
	}
	if c.Duration > 0 {
		fmt.Fprintf(w, ", %v each", c.Duration)
	}
	if c.Messages > 0 {
		fmt.Fprintf(w, ", backlogs of %d messages", c.Messages)
	}
	fmt.Fprint(w, ".\n\n")
}

// Write writes the comparison as tables in Markdown, with its circumstances.
func (c *Comparison) Write(w io.Writer) error { return c.writeRows(w, func(*Row) bool { return true }) }

// writeRows writes a table of the rows that are wanted, one of their details, and what went wrong with their cases.
func (c *Comparison) writeRows(w io.Writer, wanted func(*Row) bool) error {
	var main, details []*Row
	for i := range c.Rows {
		switch r := &c.Rows[i]; {
		case !wanted(r):
		case r.Detail:
			details = append(details, r)
		default:
			main = append(main, r)
		}
	}
	c.Circumstances.write(w)
	if err := c.writeTable(w, main); err != nil {
		return err
	}
	if len(details) > 0 {
		fmt.Fprint(w, "\nDetails, to judge the figures above by:\n\n")
		if err := c.writeTable(w, details); err != nil {
			return err
		}
	}
	rows := append(main, details...)
	for _, trouble := range c.Troubles {
		if slices.ContainsFunc(rows, func(r *Row) bool { return r.Case == trouble.Case }) {
			fmt.Fprintf(w, "\nTrouble: %s\n", strings.ReplaceAll(trouble.Text, "\n", " "))
		}
	}
	if len(c.Unmeasured) > 0 {
		fmt.Fprintf(w, "\nNo time was left for %s.\n", strings.Join(c.Unmeasured, ", "))
	}
	return nil
}

// writeTable writes rows, with a column for FlashMQ if one of them knows something of it, and one for limits if there are any.
func (c *Comparison) writeTable(w io.Writer, rows []*Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	columns := append([]string{"case", "figure"}, c.Brokers...)
	columns = append(columns, "ratio")
	hasLimits := slices.ContainsFunc(rows, func(r *Row) bool { return r.Limit != 0 })
	if hasLimits {
		columns = append(columns, "limit")
	}
	hasFlashMQ := slices.ContainsFunc(rows, func(r *Row) bool { return r.FlashMQ != "" })
	if hasFlashMQ {
		columns = append(columns, "FlashMQ's ratio")
	}
	writeCells(t, columns)
	writeCells(t, slices.Repeat([]string{"---"}, len(columns)))
	for _, r := range rows {
		cells := r.cells()
		if hasLimits {
			cells = append(cells, r.verdict())
		}
		if hasFlashMQ {
			cells = append(cells, r.FlashMQ)
		}
		writeCells(t, cells)
	}
	return t.Flush()
}

func writeCells(w io.Writer, cells []string) {
	for _, cell := range cells {
		space := " "
		if cell == "---" {
			space = "" // as it is usual
		}
		fmt.Fprintf(w, "|%s%s\t", space, cell)
	}
	fmt.Fprintln(w, "|")
}

// cells are the figure of each broker, with its ratio to the reference if it is neither the first nor the reference, and the
// first's ratio.
func (r *Row) cells() []string {
	cells := []string{r.Case, r.Figure}
	last := len(r.Medians) - 1
	for i, m := range r.Medians {
		text := short(m)
		if r.zero(i) {
			text = "0"
		}
		if ratio := quotient(m, r.Medians[last]); i > 0 && i < last && ratio > 0 {
			text += fmt.Sprintf(" (%.2f)", ratio)
		}
		cells = append(cells, text)
	}
	if r.Ratio == 0 {
		return append(cells, "")
	}
	return append(cells, strconv.FormatFloat(r.Ratio, 'f', 2, 64))
}

// verdict is the limit, and whether it is missed.
func (r *Row) verdict() string {
	if r.Limit == 0 {
		return ""
	}
	limit := "≤ "
	if r.AtLeast {
		limit = "≥ "
	}
	limit += strconv.FormatFloat(r.Limit, 'f', -1, 64)
	switch {
	case r.Met():
		return limit
	case r.Medians[0] == 0 && !r.zero(0):
		return limit + " not measured"
	}
	return limit + " MISSED"
}

// short writes a number with the digits that mean something, and a dash for one that is not known.
func short(v float64) string {
	decimals := 2
	switch {
	case v == 0:
		return "–"
	case v >= 1000:
		decimals = 0
	case v >= 10:
		decimals = 1
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// The lines between which a page has the table of a group.
func marks(group string) (begin, end string) {
	return "<!-- bench " + group + " begins: written by make bench -->\n", "<!-- bench " + group + " ends -->\n"
}

// Into returns a page with the table of each group that was measured between the group's marks, instead of what was there.
func (c *Comparison) Into(page []byte) ([]byte, error) {
	for _, group := range []string{Live, Stored} {
		inGroup := func(r *Row) bool { return r.Group == group }
		if !slices.ContainsFunc(c.Rows, func(r Row) bool { return inGroup(&r) }) {
			continue
		}
		begin, end := marks(group)
		before, rest, found := bytes.Cut(page, []byte(begin))
		_, after, ends := bytes.Cut(rest, []byte(end))
		if !found || !ends {
			return nil, fmt.Errorf("bench: the page has no lines %q and %q", begin, end)
		}
		var b bytes.Buffer
		b.Write(before)
		b.WriteString(begin)
		if err := c.writeRows(&b, inGroup); err != nil {
			return nil, err
		}
		b.WriteString(end)
		b.Write(after)
		page = b.Bytes()
	}
	return page, nil
}
