package script

import (
	"errors"
	"fmt"
	"strings"
)

// separator stands between steps and what they bring about.
const separator = "----"

// A Script is a parsed script file.
type Script struct {
	Versions []byte // the protocol versions to play it with: 3, 4, 5
	blocks   []block
}

// A block is steps with their output.
type block struct {
	source []string // lines as in the file, comments included
	first  int      // line number of source[0]
	want   []string
}

// Parse reads a script.
func Parse(text string) (*Script, error) {
	if !strings.HasPrefix(text, "# ") {
		return nil, errors.New("1: a script starts with the promise it tests, as a comment")
	}
	s := &Script{}
	now := block{first: 1}
	expecting := false
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		switch {
		case expecting && line == "":
			s.blocks = append(s.blocks, now)
			now = block{first: i + 2}
			expecting = false
		case expecting:
			now.want = append(now.want, line)
		case line == separator:
			expecting = true
		default:
			now.source = append(now.source, line)
		}
	}
	if !expecting {
		return nil, fmt.Errorf("%d: steps without %s", now.first, separator)
	}
	s.blocks = append(s.blocks, now)
	return s, s.readVersions()
}

// readVersions takes the use line out of the first block.
func (s *Script) readVersions() error {
	s.Versions = []byte{5}
	for i, line := range s.blocks[0].source {
		list, ok := strings.CutPrefix(line, "use ")
		if !ok {
			continue
		}
		s.Versions = nil
		for _, name := range strings.Fields(list) {
			v, err := versionOf(name)
			if err != nil {
				return fmt.Errorf("%d: %w", i+1, err)
			}
			s.Versions = append(s.Versions, v)
		}
	}
	return nil
}

func versionOf(name string) (byte, error) {
	switch name {
	case "v3", "v4", "v5":
		return name[1] - '0', nil
	}
	return 0, fmt.Errorf("no version %s", name)
}

// Text is the script as a file with the given output for its blocks.
func (s *Script) Text(got [][]string) string {
	var out strings.Builder
	for i, b := range s.blocks {
		if i > 0 {
			out.WriteByte('\n')
		}
		for _, line := range b.source {
			out.WriteString(line + "\n")
		}
		out.WriteString(separator + "\n")
		for _, line := range got[i] {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

// Want is the output that the file expects.
func (s *Script) Want() [][]string {
	var want [][]string
	for _, b := range s.blocks {
		want = append(want, b.want)
	}
	return want
}
