package main

import (
	"bytes"
	"fmt"
	"strings"
)

// shown is how many places a cell lists; the rest is a number.
const shown = 3

// A count sums up one version.
type count struct {
	name                                string
	all, ours                           int
	withCode, withTest, reasoned, empty int // reasoned and empty count cells, the others statements
}

func (c count) String() string {
	return fmt.Sprintf("%s: %d statements, %d for a server; with code %d, with test %d; cells with a reason %d, open %d",
		c.name, c.all, c.ours, c.withCode, c.withTest, c.reasoned, c.empty)
}

func (b *book) counts() []count {
	var list []count
	for _, v := range b.volumes {
		c := count{name: v.name, all: len(v.statements)}
		for _, s := range v.statements {
			if s.Who.Ours() {
				c.add(b.cells[s.ID])
			}
		}
		list = append(list, c)
	}
	return list
}

func (c *count) add(cells map[column]*cell) {
	c.ours++
	for col, cell := range cells {
		switch {
		case cell.cited() && col == code:
			c.withCode++
		case cell.cited():
			c.withTest++
		case cell.reason != "":
			c.reasoned++
		default:
			c.empty++
		}
	}
}

// open lists the cells that hold nothing, as statement and column.
func (b *book) open() (list []string) {
	for _, v := range b.volumes {
		for _, s := range v.statements {
			for _, col := range []column{code, test} {
				if c := b.cells[s.ID][col]; s.Who.Ours() && !c.cited() && c.reason == "" {
					list = append(list, s.ID+" "+string(col))
				}
			}
		}
	}
	return list
}

// page is docs/spec.md.
func (b *book) page() []byte {
	var w bytes.Buffer
	w.WriteString(preface)
	w.WriteString("| | statements | for a server | with code | with test | cells with a reason | open cells |\n|---|---|---|---|---|---|---|\n")
	for _, c := range b.counts() {
		fmt.Fprintf(&w, "| %s | %d | %d | %d | %d | %d | %d |\n", c.name, c.all, c.ours, c.withCode, c.withTest, c.reasoned, c.empty)
	}
	fmt.Fprintf(&w, "\n%s", b.choices)
	for _, v := range b.volumes {
		b.writeTable(&w, v)
	}
	for _, v := range b.volumes {
		b.writeClients(&w, v)
	}
	return w.Bytes()
}

const preface = `<!-- Written by "go run ./test/spec" from docs/spec/ and the citations in the source. Do not edit. -->
# Penstock and the specification

Every numbered statement of [MQTT 5](https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html) and
[MQTT 3.1.1](https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html) (Appendix B of each) that gives a server something to do,
in our words: where the code obeys it, and which test shows it. The specifications' own words rule.
Code and tests cite statements as ` + "`[MQTT5-3.3.1-5]`" + ` or ` + "`[MQTT311-3.3.1-5]`" + `; this page collects the citations.

*Duty*: server, both (server and client), or refused (a client's duty; when the broker sees it broken, it refuses).
An entry "as MQTT5-…" means that the code obeying that statement obeys this one too. An empty cell has its reason in italics;
"open" is work to do.

`

func (b *book) writeTable(w *bytes.Buffer, v volume) {
	fmt.Fprintf(w, "\n## %s\n\n| statement | duty | in our words | code | test |\n|---|---|---|---|---|\n", v.name)
	for _, s := range v.statements {
		if !s.Who.Ours() {
			continue
		}
		duty := string(s.Who)
		if s.Who == Checked {
			duty = "refused"
		}
		cells := b.cells[s.ID]
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", s.ID, duty, s.Text, cells[code].markdown(), cells[test].markdown())
	}
}

func (b *book) writeClients(w *bytes.Buffer, v volume) {
	fmt.Fprintf(w, "\n## Clients only, %s\n\nA server can neither obey these nor see them broken.\n\n", v.name)
	for _, s := range v.statements {
		if !s.Who.Ours() {
			fmt.Fprintf(w, "- %s: %s\n", s.ID, s.Text)
		}
	}
}

func (c cell) markdown() string {
	switch {
	case c.same != "":
		return "as " + c.same
	case c.reason != "":
		return "*" + c.reason + "*"
	case len(c.where) == 0:
		return "open"
	}
	list := c.where[:min(shown, len(c.where))]
	out := "`" + strings.Join(list, "`<br>`") + "`"
	if more := len(c.where) - len(list); more > 0 {
		out += fmt.Sprintf("<br>and %d more", more)
	}
	return out
}
