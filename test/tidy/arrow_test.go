package tidy

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// An arrow says which of our packages the packages of a room may import.
// The first arrow whose room holds the importing package rules; * at an end
// stands for the rest of a path. A room without an arrow may import anything but cmd.
type arrow struct {
	room string
	may  []string
}

var arrows = []arrow{
	{"broker/packet", nil},
	{"broker/topic", nil},
	{"broker/ring", nil},
	{"broker/session", []string{"broker/packet", "broker/topic", "broker/ring"}}, // ring is memory: the state machine stays without locks of its own
	{"broker*", []string{"broker*", "hooks*", "storage", "configs"}},
	{"hooks*", []string{"hooks*", "broker/packet", "broker/topic", "configs"}},
	{"storage*", []string{"storage*", "broker/packet", "broker/topic"}},
	{"configs*", []string{"broker/topic"}},                                                                     // a mistake in a filter is found where its line is known
	{"bridge*", []string{"bridge*", "broker/packet", "broker/topic", "hooks", "storage", "configs", "client"}}, // client knows how to dial
	{"admin*", []string{"admin*", "broker", "broker/packet", "broker/topic", "configs"}},                       // the broker's Stats, behind an interface of its own
	{"client*", []string{"client*", "broker/packet", "broker/topic"}},
}

// A gate is a foreign package that only some rooms may import, or all but some.
type gate struct {
	foreign string // * at the end stands for the rest of the path
	only    []string
	never   []string
	tests   bool // tests may anyhow
}

var gates = []gate{
	{"github.com/dgraph-io/badger*", []string{"storage/badger*"}, nil, false},
	{"github.com/mochi-mqtt/server*", []string{"broker/packet", "test*", "bench*"}, nil, true},
	{"github.com/stretchr/testify*", []string{}, nil, false},
	// What does no I/O cannot: and the state machine and the codec know neither clock nor lock.
	{"net", nil, []string{"broker/packet", "broker/topic", "broker/session", "hooks/channel/spread"}, true},
	{"os", nil, []string{"broker/packet", "broker/topic", "broker/session", "hooks/channel/spread"}, true},
	{"time", nil, []string{"broker/packet", "broker/topic", "broker/session", "hooks/channel/spread"}, true},
	{"sync*", nil, []string{"broker/packet", "broker/session", "hooks/channel/spread"}, true},
}

// in reports whether a path is in the room, which may end in *.
func in(p, room string) bool {
	if prefix, ok := strings.CutSuffix(room, "*"); ok {
		return p == prefix || strings.HasPrefix(p, prefix+"/")
	}
	return p == room
}

func inAny(p string, rooms []string) bool {
	return slices.ContainsFunc(rooms, func(r string) bool { return in(p, r) })
}

// checkArrows: imports point one way, and gated modules stay behind their gates.
func checkArrows(f *goFile) (found []finding) {
	for _, spec := range f.syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		own, isOwn := strings.CutPrefix(imported, module+"/")
		switch {
		case isOwn && !f.test && !mayImport(f.dir(), own):
			found = append(found, f.finding(spec.Pos(), "%s must not import %s", f.dir(), own))
		case !isOwn && !mayPass(f, imported):
			found = append(found, f.finding(spec.Pos(), "%s must not import %s", f.dir(), imported))
		}
	}
	return found
}

func mayImport(from, own string) bool {
	if in(own, "cmd*") && !in(from, "cmd*") {
		return false
	}
	for _, a := range arrows {
		if in(from, a.room) {
			return inAny(own, a.may)
		}
	}
	return true
}

func mayPass(f *goFile, imported string) bool {
	for _, g := range gates {
		if in(imported, g.foreign) {
			return g.tests && f.test || !inAny(f.dir(), g.never) && (g.only == nil || inAny(f.dir(), g.only))
		}
	}
	return true
}

// Imports point one way: packet, topic <- session <- broker <- cmd.
func TestArrows(t *testing.T) {
	for _, f := range goFiles(t) {
		report(t, checkArrows(f))
	}
}
