package main

import (
	"fmt"
	"regexp"
	"strings"
)

// A Citation is one statement named in the source.
type Citation struct {
	ID    string
	Where string // file, or file:function
	Test  bool
	Both  bool // the test is played by clients of 3.1.1 and of 5
}

var (
	// A citation may be broken over the lines of a comment.
	citationList = regexp.MustCompile(`\[(MQTT(?:5|311)-[^\[\]]*)\]`)
	lineBreak    = regexp.MustCompile(`\s*\n\s*(?://|#)?\s*`)
	versioned    = regexp.MustCompile(`^(MQTT(?:5|311))-(.+)$`)
	section      = regexp.MustCompile(`^\d+(\.\d+)*$`)
)

// aliases are the numbers that the specifications themselves misprint, in their text or in their appendix.
var aliases = map[string]string{
	"MQTT5-4.2-1":      "MQTT5-4.2.0-1",
	"MQTT311-3.1.2.7":  "MQTT311-3.1.2-7",
	"MQTT311-3.3.1.-1": "MQTT311-3.3.1-1",
	"MQTT311-3-8.3-4":  "MQTT311-3.8.3-4",
}

// A found is one citation list and where in the text it begins.
type found struct {
	offset int
	ids    []string
}

// citations finds the lists in a text. A list is [MQTT5-3.3.2-4], [MQTT5-3.3.2-4, -15] or
// [MQTT5-3.3.1-5, MQTT311-3.3.1-5]. A reference to a section, [MQTT5-4.10], names no statement.
func citations(text string) (all []found, err error) {
	for _, m := range citationList.FindAllStringSubmatchIndex(text, -1) {
		ids, err := parseList(lineBreak.ReplaceAllString(text[m[2]:m[3]], " "))
		if err != nil {
			return nil, err
		}
		all = append(all, found{offset: m[0], ids: ids})
	}
	return all, nil
}

// parseList reads what stands between the brackets.
func parseList(list string) (ids []string, err error) {
	version, base := "", "" // of the item before
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if alias, ok := aliases[item]; ok {
			item = alias
		}
		number := item
		if m := versioned.FindStringSubmatch(item); m != nil {
			version, number = m[1], m[2]
		} else if strings.HasPrefix(item, "-") {
			number = base + item
		}
		switch {
		case statementID.MatchString(number):
			ids = append(ids, version+"-"+number)
			base = number[:strings.LastIndex(number, "-")]
		case section.MatchString(number):
			base = number
		default:
			return nil, fmt.Errorf("cannot read %q in [%s]", item, list)
		}
	}
	return ids, nil
}
