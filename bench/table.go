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
	Began    time.Time     `json:"began"`
	Machine  string        `json:"machine"`
	Load     string        `json:"load"` // runnable tasks, mean of the minute before it began; empty if not known
	Versions []string      `json:"versions"`
	Rounds   int           `json:"rounds"`
	Duration time.Duration `json:"duration"`           // of each measurement, if not the cases' own
	Messages int           `json:"messages,omitempty"` // of each backlog, if not the cases' own
}

func circumstances(o *CompareOptions) Circumstances {
	c := Circumstances{
		Began: time.Now(), Rounds: o.Rounds, Duration: o.Duration, Messages: o.Messages,
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

func (c *Circumstances) write(w io.Writer) {
	fmt.Fprintf(w, "Measured %s on %s", c.Began.Format("2006-01-02 15:04"), c.Machine)
	if c.Load != "" {
		fmt.Fprintf(w, ", load %s when it began", c.Load)
	}
	fmt.Fprintf(w, ".\n%s. Medians of %d", strings.Join(c.Versions, "; "), c.Rounds)
	if c.Duration > 0 {
		fmt.Fprintf(w, ", %v each", c.Duration)
	}
	if c.Messages > 0 {
		fmt.Fprintf(w, ", backlogs of %d messages", c.Messages)
	}
	fmt.Fprint(w, ".\n\n")
}

// Write writes the comparison as a table in Markdown, with its circumstances.
func (c *Comparison) Write(w io.Writer) error { return c.writeRows(w, func(*Row) bool { return true }) }

func (c *Comparison) writeRows(w io.Writer, wanted func(*Row) bool) error {
	var cases []string
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	c.Circumstances.write(w)
	fmt.Fprint(t, "| case\t| figure\t")
	for _, b := range c.Brokers {
		fmt.Fprintf(t, "| %s\t", b)
	}
	fmt.Fprint(t, "| ratio\t| limit\t|\n|---\t|---\t")
	for range c.Brokers {
		fmt.Fprint(t, "|---\t")
	}
	fmt.Fprint(t, "|---\t|---\t|\n")
	for i := range c.Rows {
		if r := &c.Rows[i]; wanted(r) {
			r.write(t)
			cases = append(cases, r.Case)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, trouble := range c.Troubles {
		if name, _, _ := strings.Cut(trouble, ","); !slices.Contains(cases, name) {
			continue
		}
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
	ratio := ""
	if r.Ratio > 0 {
		ratio = strconv.FormatFloat(r.Ratio, 'f', 2, 64)
	}
	fmt.Fprintf(w, "| %s\t| %s\t|\n", ratio, r.verdict())
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
	case r.Medians[0] == 0:
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
