package image

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// An instruction is one line of a Dockerfile, continuation lines and here-document included.
type instruction struct {
	name  string            // in capitals
	flags map[string]string // --name=value
	words []string          // of the JSON form, or separated by spaces
	text  string            // after the name
	here  string            // contents of the here-document that stands for the first word
}

// A stage is what one FROM begins.
type stage struct {
	from, name   string
	instructions []instruction
}

// readDockerfile reads the stages of a Dockerfile.
func readDockerfile(t *testing.T, file string) []stage {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var stages []stage
	lines := strings.Split(string(b), "\n")
	for len(lines) > 0 {
		var in instruction
		if in, lines, err = nextInstruction(lines); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		switch {
		case in.name == "":
		case in.name == "FROM":
			s := stage{from: in.words[0]}
			if len(in.words) == 3 && strings.EqualFold(in.words[1], "AS") {
				s.name = in.words[2]
			}
			stages = append(stages, s)
		case len(stages) == 0:
			t.Fatalf("%s: %s before FROM", file, in.name)
		default:
			last := &stages[len(stages)-1]
			last.instructions = append(last.instructions, in)
		}
	}
	return stages
}

// nextInstruction takes one instruction, a comment or an empty line off lines.
func nextInstruction(lines []string) (in instruction, rest []string, err error) {
	line, rest := strings.TrimSpace(lines[0]), lines[1:]
	for strings.HasSuffix(line, "\\") && len(rest) > 0 {
		line, rest = strings.TrimSuffix(line, "\\")+strings.TrimSpace(rest[0]), rest[1:]
	}
	if line == "" || strings.HasPrefix(line, "#") {
		return in, rest, nil
	}
	name, text, _ := strings.Cut(line, " ")
	in.name, in.flags = strings.ToUpper(name), make(map[string]string)
	for strings.HasPrefix(text, "--") {
		var flag string
		flag, text, _ = strings.Cut(text, " ")
		key, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
		in.flags[key] = value
	}
	in.text, in.words = text, strings.Fields(text)
	if strings.HasPrefix(text, "[") {
		in.words = nil
		if err := json.Unmarshal([]byte(text), &in.words); err != nil {
			return in, nil, fmt.Errorf("%s: %w", line, err)
		}
	}
	if len(in.words) == 0 || !strings.HasPrefix(in.words[0], "<<") {
		return in, rest, nil
	}
	end := strings.TrimPrefix(in.words[0], "<<")
	for i, l := range rest {
		if l == end {
			in.here = strings.Join(rest[:i], "\n") + "\n"
			return in, rest[i+1:], nil
		}
	}
	return in, nil, fmt.Errorf("%s: no line %q", line, end)
}

// last is the last instruction of a name; it must be there.
func (s stage) last(t *testing.T, name string) instruction {
	t.Helper()
	for i := len(s.instructions) - 1; i >= 0; i-- {
		if s.instructions[i].name == name {
			return s.instructions[i]
		}
	}
	t.Fatalf("the image has no %s", name)
	return instruction{}
}
