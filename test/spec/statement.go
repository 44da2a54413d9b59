package main

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// A Statement is one numbered conformance statement of one version of MQTT.
type Statement struct {
	ID   string // with the version in front, as cited: MQTT5-3.3.1-5
	Who  Who
	Text string // in our words
	Same string // the MQTT 5 statement that the same code obeys, or empty
}

// Who says whose duty a statement is.
type Who string

// Whose duty a statement is.
const (
	Server  Who = "server"
	Both    Who = "both"
	Checked Who = "checked" // a client's duty; the server sees a breach and refuses it
	Client  Who = "client"  // a client's duty that a server can neither obey nor see broken
)

// Ours reports whether a server has something to do for the statement.
func (w Who) Ours() bool { return w != Client }

var statementID = regexp.MustCompile(`^\d+\.\d+\.\d+-\d+$`)

// loadStatements reads one list; version is MQTT5 or MQTT311.
func loadStatements(path, version string) ([]Statement, error) {
	rows, err := readRows(path)
	if err != nil {
		return nil, err
	}
	var list []Statement
	for _, row := range rows {
		s, err := parseStatement(row, version)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		list = append(list, s)
	}
	return list, nil
}

func parseStatement(row []string, version string) (Statement, error) {
	if len(row) < 3 {
		return Statement{}, fmt.Errorf("%q: want id, who and text", row)
	}
	s := Statement{ID: version + "-" + row[0], Who: Who(row[1]), Text: row[2]}
	if !statementID.MatchString(row[0]) {
		return Statement{}, fmt.Errorf("%s is no statement number", row[0])
	}
	if !slices.Contains([]Who{Server, Both, Checked, Client}, s.Who) {
		return Statement{}, fmt.Errorf("%s: %q is not server, both, checked or client", row[0], row[1])
	}
	if len(row) > 3 && row[3] != "" {
		s.Same = "MQTT5-" + row[3]
	}
	return s, nil
}

// readRows reads tab-separated lines; lines that are empty or begin with # are skipped.
func readRows(path string) ([][]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var rows [][]string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		rows = append(rows, strings.Split(line, "\t"))
	}
	return rows, lines.Err()
}
