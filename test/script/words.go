package script

import (
	"fmt"
	"strconv"
	"strings"
)

// words splits a line at spaces that are not inside double quotes. The quotes stay.
func words(line string) ([]string, error) {
	var (
		out    []string
		word   strings.Builder
		quoted bool
	)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quoted && c == '\\' && i+1 < len(line):
			word.WriteByte(c)
			i++
			c = line[i]
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t'):
			if word.Len() > 0 {
				out = append(out, word.String())
				word.Reset()
			}
			continue
		}
		word.WriteByte(c)
	}
	if quoted {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if word.Len() > 0 {
		out = append(out, word.String())
	}
	return out, nil
}

// plain is a word without its quotes.
func plain(word string) (string, error) {
	var out strings.Builder
	for word != "" {
		start := strings.IndexByte(word, '"')
		if start < 0 {
			out.WriteString(word)
			break
		}
		out.WriteString(word[:start])
		quoted, err := strconv.QuotedPrefix(word[start:])
		if err != nil {
			return "", fmt.Errorf("%s: %w", word, err)
		}
		text, err := strconv.Unquote(quoted)
		if err != nil {
			return "", fmt.Errorf("%s: %w", word, err)
		}
		out.WriteString(text)
		word = word[start+len(quoted):]
	}
	return out.String(), nil
}

// options are the words of a step after the verb: some positions, then key=value
// and flags in any order. Whoever asks for one marks it as used; the first
// mistake is kept in err.
type options struct {
	list []option
	err  error
}

type option struct {
	key   string // empty for a bare word
	value string
	used  bool
}

// newOptions reads words; only a word like name=… is a key with its value.
func newOptions(list []string) *options {
	o := &options{}
	for _, w := range list {
		key, value, found := strings.Cut(w, "=")
		if !found || !isName(key) {
			key, value = "", w
		}
		text, err := plain(value)
		if err != nil {
			o.fail(err)
		}
		o.list = append(o.list, option{key: key, value: text})
	}
	return o
}

func isName(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return s != ""
}

func (o *options) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}

// next takes the first unused bare word.
func (o *options) next(what string) string {
	for i := range o.list {
		if !o.list[i].used && o.list[i].key == "" {
			o.list[i].used = true
			return o.list[i].value
		}
	}
	o.fail(fmt.Errorf("%s is missing", what))
	return ""
}

// more reports whether a bare word is left.
func (o *options) more() bool {
	for i := range o.list {
		if !o.list[i].used && o.list[i].key == "" {
			return true
		}
	}
	return false
}

// flag reports whether the bare word is there.
func (o *options) flag(name string) bool {
	for i := range o.list {
		if !o.list[i].used && o.list[i].key == "" && o.list[i].value == name {
			o.list[i].used = true
			return true
		}
	}
	return false
}

// text is the value of a key.
func (o *options) text(key string) (string, bool) {
	for i := range o.list {
		if !o.list[i].used && o.list[i].key == key {
			o.list[i].used = true
			return o.list[i].value, true
		}
	}
	return "", false
}

// number is the numeric value of a key, or otherwise.
func (o *options) number(key string, bits int, otherwise uint64) uint64 {
	s, ok := o.text(key)
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 0, bits)
	if err != nil {
		o.fail(fmt.Errorf("%s: %w", key, err))
	}
	return n
}

// done is the first mistake, or an error if a word was not understood.
func (o *options) done() error {
	for _, opt := range o.list {
		if !opt.used {
			o.fail(fmt.Errorf("%q is not understood", strings.TrimPrefix(opt.key+"="+opt.value, "=")))
		}
	}
	return o.err
}
