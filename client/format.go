package client

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Format says how a received message is printed: text with the conversions that mosquitto_sub knows.
//
//	%t topic          %p payload        %x %X payload in hexadecimal   %l its length in bytes
//	%q QoS            %r retain         %m packet identifier
//	%C content type   %R response topic %D correlation data            %E message expiry
//	%F payload format %S subscription identifier  %A topic alias       %P user properties
//	%I time, ISO 8601 %U time, Unix     %j JSON                        %J JSON, the payload being JSON
//	%% percent sign   \n \t \r \a \e \v \0 \\ as in C
type Format struct {
	parts []formatPart
	// Raw leaves out the end of line after each message.
	Raw bool
}

// A formatPart prints one piece of a message.
type formatPart func(dst []byte, m *Message, at time.Time) ([]byte, error)

// Plain prints the payload alone, and nothing for a message without one.
func Plain() *Format {
	return &Format{parts: []formatPart{func(dst []byte, m *Message, _ time.Time) ([]byte, error) {
		return append(dst, m.Payload...), nil
	}}}
}

// Verbose prints the topic and the payload, (null) for an empty one.
func Verbose() *Format {
	return &Format{parts: []formatPart{func(dst []byte, m *Message, _ time.Time) ([]byte, error) {
		dst = append(append(dst, m.Topic...), ' ')
		if len(m.Payload) == 0 {
			return append(dst, "(null)"...), nil
		}
		return append(dst, m.Payload...), nil
	}}}
}

// ParseFormat reads a format.
func ParseFormat(text string) (*Format, error) {
	f := &Format{}
	for text != "" {
		i := strings.IndexAny(text, `%\`)
		if i < 0 {
			i = len(text)
		}
		if i > 0 {
			f.literal(text[:i])
			text = text[i:]
			continue
		}
		if len(text) < 2 {
			return nil, fmt.Errorf("expected something after %s at the end of the format", text)
		}
		if err := f.conversion(text[0], text[1]); err != nil {
			return nil, err
		}
		text = text[2:]
	}
	return f, nil
}

func (f *Format) literal(text string) {
	f.parts = append(f.parts, func(dst []byte, _ *Message, _ time.Time) ([]byte, error) { return append(dst, text...), nil })
}

var escapes = map[byte]string{
	'n': "\n", 't': "\t", 'r': "\r", 'a': "\a", 'e': "\x1b", 'v': "\v", '0': "\x00", '\\': `\`,
}

func (f *Format) conversion(kind, letter byte) error {
	if kind == '\\' {
		text, ok := escapes[letter]
		if !ok {
			return fmt.Errorf(`unknown \%c in the format; expected one of \n \t \r \a \e \v \0 \\`, letter)
		}
		f.literal(text)
		return nil
	}
	part, ok := conversions[letter]
	if !ok {
		return fmt.Errorf("unknown %%%c in the format; expected one of t p x X l q r m C R D E F S A P I U j J %%", letter)
	}
	f.parts = append(f.parts, part)
	return nil
}

// conversions maps the letter after % to what it prints. What a message has not prints nothing.
var conversions = map[byte]formatPart{
	'%': text(func(*Message) string { return "%" }),
	't': text(func(m *Message) string { return m.Topic }),
	'p': text(func(m *Message) string { return string(m.Payload) }),
	'x': text(func(m *Message) string { return hex.EncodeToString(m.Payload) }),
	'X': text(func(m *Message) string { return strings.ToUpper(hex.EncodeToString(m.Payload)) }),
	'l': text(func(m *Message) string { return strconv.Itoa(len(m.Payload)) }),
	'q': text(func(m *Message) string { return strconv.Itoa(int(m.QoS)) }),
	'r': text(func(m *Message) string { return strconv.Itoa(bit(m.Retain)) }),
	'm': text(func(m *Message) string { return strconv.Itoa(int(m.PacketID)) }),
	'C': text(func(m *Message) string { return m.Properties.ContentType }),
	'R': text(func(m *Message) string { return m.Properties.ResponseTopic }),
	'D': text(func(m *Message) string { return string(m.Properties.CorrelationData) }),
	'E': text(func(m *Message) string { return number(m.Properties.MessageExpiry) }),
	'F': text(func(m *Message) string { return number(m.Properties.PayloadFormat) }),
	'S': text(func(m *Message) string { return number(m.Properties.SubscriptionID) }),
	'A': text(func(m *Message) string { return number(m.Properties.TopicAlias) }),
	'P': text(userProperties),
	'I': func(dst []byte, _ *Message, at time.Time) ([]byte, error) {
		return at.AppendFormat(dst, "2006-01-02T15:04:05-0700"), nil
	},
	'U': func(dst []byte, _ *Message, at time.Time) ([]byte, error) {
		return fmt.Appendf(dst, "%d.%09d", at.Unix(), at.Nanosecond()), nil
	},
	'j': func(dst []byte, m *Message, at time.Time) ([]byte, error) { return appendJSON(dst, m, at, false) },
	'J': func(dst []byte, m *Message, at time.Time) ([]byte, error) { return appendJSON(dst, m, at, true) },
}

func text(of func(m *Message) string) formatPart {
	return func(dst []byte, m *Message, _ time.Time) ([]byte, error) { return append(dst, of(m)...), nil }
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func number[N byte | uint16 | uint32 | int](n *N) string {
	if n == nil {
		return ""
	}
	return strconv.FormatUint(uint64(*n), 10)
}

func userProperties(m *Message) string {
	pairs := make([]string, len(m.Properties.User))
	for i, u := range m.Properties.User {
		pairs[i] = u.Key + ":" + u.Value
	}
	return strings.Join(pairs, " ")
}

// Append appends what is printed of a message that arrived at the time at. It fails only
// for %J and a payload that is no JSON.
func (f *Format) Append(dst []byte, m *Message, at time.Time) ([]byte, error) {
	line, err := dst, error(nil)
	for _, part := range f.parts {
		if line, err = part(line, m, at); err != nil {
			return dst, err
		}
	}
	if len(line) > len(dst) && !f.Raw {
		line = append(line, '\n')
	}
	return line, nil
}
