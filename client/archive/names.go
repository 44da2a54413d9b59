package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A Naming says what files are called.
type Naming struct {
	// Format is a path in which these are replaced: <CHANNEL>, <HOST>, <ID> and <PID> by the fields below, <TOPIC> by the
	// message's topic, which may make folders, <DATETIME> by the time, and <REV> by a number if the name is taken. Without
	// <REV> the number goes in front of the extension.
	Format   string
	DateTime string // as in strftime; it may make folders
	Channel  string
	Host     string
	ID       string
	PID      int
	UTC      bool
}

// Names are the names of files.
type Names struct {
	format   string // with <TOPIC>, <DATETIME> and <REV>, once each at most but for <TOPIC> and <DATETIME>
	datetime strftime
	utc      bool
}

var placeholder = regexp.MustCompile(`<[^<>/]*>`)

// ParseNames reads how files are to be called.
func ParseNames(n Naming) (*Names, error) {
	datetime, err := parseStrftime(n.DateTime)
	if err != nil {
		return nil, err
	}
	fixed := map[string]string{
		"<CHANNEL>": escapeLevel(n.Channel), "<HOST>": escapeLevel(n.Host), "<ID>": escapeLevel(n.ID), "<PID>": fmt.Sprint(n.PID),
		"<TOPIC>": "<TOPIC>", "<DATETIME>": "<DATETIME>", "<REV>": "<REV>",
	}
	format := placeholder.ReplaceAllStringFunc(n.Format, func(p string) string {
		value, known := fixed[p]
		if !known {
			err = fmt.Errorf("unknown %s; expected <CHANNEL>, <TOPIC>, <HOST>, <ID>, <PID>, <DATETIME> or <REV>", p)
		}
		return value
	})
	if err != nil {
		return nil, err
	}
	if !strings.Contains(format, "<REV>") {
		format = withRevision(format)
	}
	names := &Names{format: filepath.FromSlash(format), datetime: datetime, utc: n.UTC}
	if sample := names.at(names.key("t", time.Now()), 0); !filepath.IsLocal(sample) || strings.HasSuffix(sample, string(filepath.Separator)) {
		return nil, fmt.Errorf("expected the name of a file in a folder, got %q", n.Format)
	}
	return names, nil
}

// withRevision puts <REV> in front of the extension.
func withRevision(format string) string {
	stem := strings.TrimSuffix(format, ".gz")
	if dot := strings.LastIndexByte(stem, '.'); dot > strings.LastIndexAny(stem, "/>") {
		return format[:dot] + "<REV>" + format[dot:]
	}
	return stem + "<REV>" + format[len(stem):]
}

// key is the name of the file for a topic at a time, with <REV> in it.
func (n *Names) key(topic string, at time.Time) string {
	if n.utc {
		at = at.UTC()
	}
	name := n.format
	if strings.Contains(name, "<TOPIC>") {
		name = strings.ReplaceAll(name, "<TOPIC>", filepath.FromSlash(escapeTopic(topic)))
	}
	return strings.ReplaceAll(name, "<DATETIME>", filepath.FromSlash(n.datetime.at(at)))
}

// at is the name of a key with a number. The first has none.
func (n *Names) at(key string, revision int) string {
	text := ""
	if revision > 0 {
		text = fmt.Sprintf("-%06d", revision)
	}
	return strings.ReplaceAll(key, "<REV>", text)
}

// What a file system takes of a topic name. Longer ones are cut, and told apart by a hash.
const (
	levelMax = 100
	topicMax = 400
)

// escapeTopic makes a topic name a path that stays where it is: each level is a folder, the last one part of a name.
func escapeTopic(topic string) string {
	levels := strings.Split(topic, "/")
	tooLong := false
	for i, level := range levels {
		levels[i] = escapeLevel(level)
		tooLong = tooLong || len(levels[i]) > levelMax
	}
	path := strings.Join(levels, "/")
	if !tooLong && len(path) <= topicMax {
		return path
	}
	hash := sha256.Sum256([]byte(topic))
	return strings.ReplaceAll(path[:levelMax/2], "/", "%2F") + "~" + hex.EncodeToString(hash[:16])
}

// escapeLevel keeps letters, digits, - and _, and dots that do not come first. Other bytes become % and two
// hexadecimal digits; nothing becomes %.
func escapeLevel(level string) string {
	if level == "" {
		return "%"
	}
	var b strings.Builder
	for i := range len(level) {
		c := level[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// overdue reports whether a file that was opened at one time would have another name now.
func (n *Names) overdue(opened, now time.Time) bool { return n.key("", opened) != n.key("", now) }
