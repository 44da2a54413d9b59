package configs

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// A setting is one key of the configuration and the type of its value.
type setting struct {
	key  string // "limits.max_qos"; inside a list without an index: "listeners.cert"
	kind reflect.Type
}

// settings are all keys of Config in the order of its fields.
var settings = settingsOf("", reflect.TypeFor[Config]())

func settingsOf(prefix string, structure reflect.Type) []setting {
	var found []setting
	for i := range structure.NumField() {
		f := structure.Field(i)
		s := setting{key: join(prefix, f.Tag.Get("mapstructure")), kind: f.Type}
		if f.Type.Kind() == reflect.Struct {
			found = append(found, settingsOf(s.key, f.Type)...)
			continue
		}
		found = append(found, s)
	}
	return found
}

func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "." + key
}

// isSize reports whether the value is a number of bytes, which may carry a unit: the
// keys that end in _bytes or _size are.
func (s setting) isSize() bool {
	return s.isNumber() && (strings.HasSuffix(s.key, "_bytes") || strings.HasSuffix(s.key, "_size"))
}

func (s setting) isDuration() bool { return s.kind == reflect.TypeFor[time.Duration]() }

func (s setting) isNumber() bool {
	return !s.isDuration() && (s.kind.Kind() >= reflect.Int && s.kind.Kind() <= reflect.Uint64)
}

// parse turns the text of a value into the value: a string, a bool, an int64 or
// a time.Duration. Its errors say what was expected.
func (s setting) parse(text string) (any, error) {
	switch {
	case s.isDuration():
		return s.parseDuration(text)
	case s.isSize():
		n, err := parseSize(text)
		if err != nil || !s.bound().holds(n) {
			return nil, fmt.Errorf("expected a size from %s, got %q", s.bound().sizes(), text)
		}
		return n, nil
	case s.isNumber():
		n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
		if err != nil || !s.bound().holds(n) {
			return nil, fmt.Errorf("expected a whole number from %s, got %q", s.bound().numbers(), text)
		}
		return n, nil
	case s.kind.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("expected true or false, got %q", text)
		}
		return b, nil
	}
	return text, s.checkText(text)
}

func (s setting) parseDuration(text string) (any, error) {
	d, err := time.ParseDuration(text)
	if err != nil || !s.bound().holds(int64(d)) {
		return nil, fmt.Errorf("expected a duration from %s, such as 30s or 5m, got %q", s.bound().durations(), text)
	}
	return d, nil
}

func (s setting) checkText(text string) error {
	choices, ok := choicesOf[s.key]
	if ok {
		return checkChoice(text, choices)
	}
	if check, ok := textChecks[s.key]; ok {
		return check(text)
	}
	return nil
}

func checkChoice(text string, choices []string) error {
	for _, c := range choices {
		if text == c {
			return nil
		}
	}
	return fmt.Errorf("expected %s, got %q", oneOf(choices), text)
}
