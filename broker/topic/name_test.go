package topic

import (
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	long := strings.Repeat("x", 65535)
	tests := []struct {
		promise string
		name    string
		limits  Limits
		want    error
	}{
		{"one character is enough [MQTT5-4.7.3-1]", "a", Limits{}, nil},
		{"empty is refused [MQTT5-4.7.3-1]", "", Limits{}, ErrEmpty},
		{"a lone slash is a name of two empty levels (4.7.3)", "/", Limits{}, nil},
		{"leading and trailing slash (4.7.3)", "/finance/", Limits{}, nil},
		{"a space is fine (4.7.3)", "Accounts payable", Limits{}, nil},
		{"$ is fine (4.7.2)", "$SYS/monitor", Limits{}, nil},
		{"+ in a name [MQTT5-4.7.0-1]", "sport/+", Limits{}, ErrWildcard},
		{"# in a name [MQTT5-4.7.0-1]", "sport/#", Limits{}, ErrWildcard},
		{"+ inside a level of a name [MQTT5-4.7.0-1]", "sp+rt", Limits{}, ErrWildcard},
		{"U+0000 [MQTT5-4.7.3-2]", "a\x00b", Limits{}, ErrNull},
		{"65535 bytes [MQTT5-4.7.3-3]", long, Limits{}, nil},
		{"65536 bytes [MQTT5-4.7.3-3]", long + "x", Limits{}, ErrTooLong},
		{"65536 bytes whatever the limit [MQTT5-4.7.3-3]", long + "x", Limits{Length: 1 << 20}, ErrTooLong},
		{"a lower limit, reached", "abc", Limits{Length: 3}, nil},
		{"a lower limit, passed", "abcd", Limits{Length: 3}, ErrTooLong},
		{"length counts bytes [MQTT5-4.7.3-3]", "éé", Limits{Length: 3}, ErrTooLong},
		{"levels, reached", "a/b/c", Limits{Levels: 3}, nil},
		{"levels, passed", "a/b/c/", Limits{Levels: 3}, ErrTooManyLevels},
		{"invalid UTF-8 [MQTT5-1.5.4-1]", "a\xff", Limits{}, ErrNotUTF8},
		{"a surrogate [MQTT5-1.5.4-1]", "a\xed\xa0\x80", Limits{}, ErrNotUTF8},
		{"overlong encoding [MQTT5-1.5.4-1]", "a\xc0\xaf", Limits{}, ErrNotUTF8},
		{"U+FEFF is kept [MQTT5-1.5.4-3]", "\ufeffa", Limits{}, nil},
	}
	for _, test := range tests {
		t.Run(test.promise, func(t *testing.T) {
			if got := CheckName(test.name, test.limits); got != test.want {
				t.Errorf("CheckName(%.20q) = %v, want %v", test.name, got, test.want)
			}
		})
	}
}
