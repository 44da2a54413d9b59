package topic

import (
	"strings"
	"unicode/utf8"
)

// lengthMax is the longest string the protocol can carry [MQTT5-4.7.3-3] [MQTT311-4.7.3-3].
const lengthMax = 65535

// Limits bound names and filters beyond what the specification does.
type Limits struct {
	Length int // bytes, 0 is the specification's own 65535
	Levels int // 0 is no bound
}

// CheckName says what is wrong with a topic name, or nil.
func CheckName(name string, l Limits) error {
	if err := checkString(name, l); err != nil {
		return err
	}
	if HasWildcard(name) {
		return ErrWildcard // [MQTT5-4.7.0-1] [MQTT311-4.7.1-1]
	}
	return nil
}

// checkString checks what names and filters have in common.
func checkString(s string, l Limits) error {
	limit := lengthMax
	if l.Length > 0 && l.Length < lengthMax {
		limit = l.Length
	}
	switch {
	case s == "":
		return ErrEmpty // [MQTT5-4.7.3-1] [MQTT311-4.7.3-1]
	case len(s) > limit:
		return ErrTooLong // [MQTT5-4.7.3-3] [MQTT311-4.7.3-3]
	case l.Levels > 0 && strings.Count(s, "/") >= l.Levels:
		return ErrTooManyLevels
	case strings.IndexByte(s, 0) >= 0:
		return ErrNull // [MQTT5-4.7.3-2] [MQTT311-4.7.3-2]
	case !utf8.ValidString(s):
		return ErrNotUTF8 // [MQTT5-1.5.4-1] [MQTT311-1.5.3-1]
	}
	return nil
}

// isReserved reports whether a name starts with $: no filter that starts with a
// wildcard matches it [MQTT5-4.7.2-1] [MQTT311-4.7.2-1].
func isReserved(name string) bool { return name != "" && name[0] == '$' }
