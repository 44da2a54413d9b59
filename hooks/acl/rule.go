package acl

import (
	"slices"
	"strings"

	"github.com/penstockmq/penstock/hooks"
)

// A rule is one line of the file: what it answers, about which topics, for whom.
type rule struct {
	decision hooks.Decision
	filter   pattern
	who
}

// who are the clients a rule is for. The zero value is everyone.
type who struct {
	named     bool            // one of the next three is given
	users     map[string]bool // with the members that the file gives the groups
	groups    []string        // as the authenticator sets them
	anonymous bool            // clients without a username
	clients   []string        // patterns with *; empty is any
}

// isFor reports whether the rule is for a client.
func (w *who) isFor(c *hooks.Client) bool {
	return (!w.named || w.names(c)) && (len(w.clients) == 0 || w.hasClient(c.ID))
}

func (w *who) names(c *hooks.Client) bool {
	if c.Username == "" {
		return w.anonymous
	}
	return w.users[c.Username] || slices.ContainsFunc(c.Groups, w.hasGroup)
}

func (w *who) hasGroup(group string) bool { return slices.Contains(w.groups, group) }

func (w *who) hasClient(id string) bool {
	for _, pattern := range w.clients {
		if matchStar(pattern, id) {
			return true
		}
	}
	return false
}

// matchStar reports whether s is the pattern with any text, or none, for each *.
func matchStar(pattern, s string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return s == pattern
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for { // what stands between two stars is taken where it comes first, which leaves the most for the rest
		middle, after, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(s, middle)
		}
		i := strings.Index(s, middle)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(middle):], after
	}
}
