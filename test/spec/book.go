package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Where the book's parts lie, from the module's root.
const (
	pagePath    = "docs/spec.md"
	listsPath   = "docs/spec"
	choicesPath = "docs/spec/choices.md"
)

// A column is one of the two things that a statement needs.
type column string

// The columns.
const (
	code column = "code"
	test column = "test"
)

// A cell is what the page says of one statement in one column.
type cell struct {
	where  []string // who cites it, sorted
	both   []string // those of them that 3.1.1 clients play too
	same   string   // or the statement whose code obeys this one too
	reason string   // or why there is nothing
}

func (c cell) cited() bool { return len(c.where) > 0 || c.same != "" }

// A volume is the statements of one version.
type volume struct {
	name       string // MQTT 5
	statements []Statement
}

// A book is everything the page is made of.
type book struct {
	volumes  []volume
	choices  []byte
	cells    map[string]map[column]*cell // by statement
	problems []string                    // citations and reasons that do not fit
}

// loadBook reads the lists and scans the tree.
func loadBook(root string) (*book, error) {
	b := &book{cells: map[string]map[column]*cell{}}
	for _, v := range []struct{ name, file, version string }{
		{"MQTT 5", "mqtt5.tsv", "MQTT5"}, {"MQTT 3.1.1", "mqtt311.tsv", "MQTT311"},
	} {
		list, err := loadStatements(filepath.Join(root, listsPath, v.file), v.version)
		if err != nil {
			return nil, err
		}
		b.volumes = append(b.volumes, volume{v.name, list})
		for _, s := range list {
			b.cells[s.ID] = map[column]*cell{code: {}, test: {}}
		}
	}
	cited, problems, err := scanTree(root)
	if err != nil {
		return nil, err
	}
	b.problems = problems
	b.cite(cited)
	b.inherit()
	reasons, err := readRows(filepath.Join(root, listsPath, "reasons.tsv"))
	if err != nil {
		return nil, err
	}
	b.explain(reasons)
	b.choices, err = os.ReadFile(filepath.Join(root, choicesPath))
	return b, err
}

// cite fills the cells from the citations.
func (b *book) cite(cited []Citation) {
	for _, c := range cited {
		cells, ok := b.cells[c.ID]
		if !ok {
			b.problems = append(b.problems, fmt.Sprintf("%s: there is no statement [%s]", c.Where, c.ID))
			continue
		}
		col := code
		if c.Test {
			col = test
		}
		cells[col].where = addOnce(cells[col].where, c.Where)
		if c.Both {
			cells[col].both = addOnce(cells[col].both, c.Where)
		}
	}
}

func addOnce(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// inherit lets a statement of 3.1.1 point at the MQTT 5 statement that the same
// code obeys. A test is inherited only if it is played in both versions.
func (b *book) inherit() {
	for _, v := range b.volumes {
		for _, s := range v.statements {
			if s.Same == "" {
				continue
			}
			same, ok := b.cells[s.Same]
			if !ok {
				b.problems = append(b.problems, fmt.Sprintf("%s: there is no statement [%s]", s.ID, s.Same))
				continue
			}
			if own := b.cells[s.ID][code]; len(own.where) == 0 && len(same[code].where) > 0 {
				own.same = s.Same
			}
			for _, where := range same[test].both {
				own := b.cells[s.ID][test]
				own.where = addOnce(own.where, where)
			}
		}
	}
	for _, cells := range b.cells {
		slices.Sort(cells[code].where)
		slices.Sort(cells[test].where)
	}
}

// explain takes the reasons; one for a cell that is not empty is a problem, so that
// reasons go away with what they excuse.
func (b *book) explain(rows [][]string) {
	for _, row := range rows {
		if len(row) != 3 || row[2] == "" {
			b.problems = append(b.problems, fmt.Sprintf("reasons.tsv: %q: want id, column and reason", row))
			continue
		}
		c, ok := b.cells[row[0]][column(row[1])]
		switch {
		case !ok:
			b.problems = append(b.problems, fmt.Sprintf("reasons.tsv: there is no %s %s", row[0], row[1]))
		case c.cited():
			b.problems = append(b.problems, fmt.Sprintf("reasons.tsv: %s %s has a citation and needs no reason", row[0], row[1]))
		case c.reason != "":
			b.problems = append(b.problems, fmt.Sprintf("reasons.tsv: %s %s stands twice", row[0], row[1]))
		default:
			c.reason = row[2]
		}
	}
}
