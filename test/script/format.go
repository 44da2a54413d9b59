package script

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/penstockmq/penstock/broker/packet"
)

// longest is the length of text that is printed; of longer text the length is.
const longest = 80

// quote is s as a word of a script.
func quote(s string) string {
	if len(s) > longest {
		return fmt.Sprintf("<%d bytes>", len(s))
	}
	plain := func(r rune) bool {
		return r != '"' && r != '\\' && r != '=' && r != ' ' && r != unicode.ReplacementChar && unicode.IsGraphic(r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

// always are the properties that a CONNACK has in any case: printed only on request.
var always = map[string]bool{"receive_maximum": true, "max_packet": true, "alias_maximum": true}

// line is the packet as it stands in the output of a script.
func (p *received) line(version byte, show bool) string {
	out := []string{packetName[p.kind]}
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch p.kind {
	case connack:
		add("%s", codeName(p.kind, p.code, version))
		if p.present {
			add("present")
		}
	case publish:
		add("%s %s", quote(p.topic), quote(string(p.payload)))
		if p.qos > 0 {
			add("qos=%d id=%d", p.qos, p.id)
		}
		if p.retain {
			add("retain")
		}
		if p.dup {
			add("dup")
		}
	case suback, unsuback:
		add("%d", p.id)
		add("%s", p.codeNames(version))
	case disconnect, auth:
		add("%s", codeName(p.kind, p.code, version))
	case puback, pubrec, pubrel, pubcomp:
		add("%d", p.id)
		if p.code != 0 {
			add("%s", p.code)
		}
	}
	for _, v := range p.values {
		switch {
		case v.name == "reason" && show:
			add("reason")
		case v.name != "reason" && (show || p.kind != connack || !always[v.name]):
			add("%s", v)
		}
	}
	return strings.TrimSpace(strings.Join(out, " "))
}

// codeNames are the codes of SUBACK or UNSUBACK; all success in UNSUBACK is nothing to print.
func (p *received) codeNames(version byte) string {
	var names []string
	failed := p.kind == suback
	for _, c := range p.codes {
		failed = failed || c != packet.Success
		names = append(names, codeName(p.kind, c, version))
	}
	if !failed {
		return ""
	}
	return strings.Join(names, ", ")
}

var connectReturn = [...]string{"success", "unacceptable protocol version", "identifier rejected", "server unavailable",
	"bad user name or password", "not authorized"}

// codeName is the code's name in the packet and version it came in.
func codeName(kind byte, c packet.Code, version byte) string {
	switch {
	case kind == connack && version != 5:
		return connectReturn[c]
	case kind == suback && c < 3:
		return fmt.Sprintf("granted %d", c)
	case kind == suback && version != 5:
		return "failure"
	case kind == disconnect && c == 0:
		return "normal"
	}
	return c.String()
}
