package archive

import (
	"fmt"
	"strings"
	"time"
)

// strftimes maps the letter after % to the layout of package time that says the same.
var strftimes = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM",
	'j': "002", 'b': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday", 'z': "-0700", 'Z': "MST", 'F': "2006-01-02", 'T': "15:04:05",
}

// A strftime is a format of time as in C. Each part is a layout or literal text.
type strftime []strftimePart

type strftimePart struct {
	text    string
	literal bool // text is printed as it is
}

// parseStrftime reads a format.
func parseStrftime(format string) (parts strftime, err error) {
	for format != "" {
		text, rest, found := strings.Cut(format, "%")
		if text != "" {
			parts = append(parts, strftimePart{text, true})
		}
		if !found {
			break
		}
		if rest == "" {
			return nil, fmt.Errorf("expected something after %% at the end of %q", format)
		}
		layout, known := strftimes[rest[0]]
		switch {
		case rest[0] == '%':
			parts = append(parts, strftimePart{"%", true})
		case !known:
			return nil, fmt.Errorf("unknown %%%c; expected one of Y y m d H I M S p j b B a A z Z F T %%", rest[0])
		default:
			parts = append(parts, strftimePart{layout, false})
		}
		format = rest[1:]
	}
	return parts, nil
}

func (s strftime) at(t time.Time) string {
	var b strings.Builder
	for _, p := range s {
		if p.literal {
			b.WriteString(p.text)
		} else {
			b.WriteString(t.Format(p.text))
		}
	}
	return b.String()
}
