package packet

import (
	"strings"
	"unicode/utf8"
)

const (
	textMax   = 65535 // bytes of a UTF-8 encoded string (MQTT 5, 1.5.4)
	reasonMax = 1024  // bytes of a reason string: it is read by people
)

// clip makes of s what a UTF-8 encoded string of at most max bytes may hold. Text that
// comes from a hook or an error may be anything, and must not make a packet malformed.
func clip(s string, max int) string {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}

// clipData makes of b what binary data may hold.
func clipData(b []byte) []byte { return b[:min(len(b), textMax)] }
