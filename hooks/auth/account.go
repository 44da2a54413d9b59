package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/penstockmq/penstock/hooks"
)

// An account is one line of a password file that is neither blank nor a comment.
type account struct {
	name   string
	hash   argon2id
	scram  *scramKeys // nil if the account has none
	groups []string
}

// String is the account's line.
func (a *account) String() string {
	fields := []string{a.name, a.hash.String()}
	if a.scram != nil {
		fields = append(fields, formatSCRAMKeys(*a.scram))
	}
	if len(a.groups) > 0 {
		fields = append(fields, strings.Join(a.groups, ","))
	}
	return strings.Join(fields, ":")
}

// take makes the client the account's. It writes nothing that is so already: at re-authentication the client
// is in use, and others read it.
func (a *account) take(c *hooks.Client) {
	if c.Username != a.name {
		c.Username = a.name
	}
	if !slices.Equal(c.Groups, a.groups) {
		c.Groups = a.groups
	}
}

// parseAccount reads what String writes, and only that.
func parseAccount(line string) (*account, error) {
	fields := strings.Split(line, ":")
	if len(fields) < 2 {
		return nil, errors.New("expected name:$argon2id$…")
	}
	a := &account{name: fields[0]}
	if err := checkName("username", a.name); err != nil {
		return nil, err
	}
	var err error
	if a.hash, err = parseArgon2id(fields[1]); err != nil {
		return nil, fmt.Errorf("user %q: %w", a.name, err)
	}
	if err := a.parseOptional(fields[2:]); err != nil {
		return nil, fmt.Errorf("user %q: %w", a.name, err)
	}
	return a, nil
}

// parseOptional reads the fields behind the hash: SCRAM keys, then groups.
func (a *account) parseOptional(fields []string) error {
	if len(fields) > 0 && strings.HasPrefix(fields[0], "$") {
		keys, err := parseSCRAMKeys(fields[0])
		if err != nil {
			return err
		}
		a.scram, fields = &keys, fields[1:]
	}
	if len(fields) == 0 {
		return nil
	}
	if len(fields) > 1 {
		return fmt.Errorf("field %q: expected the end of the line after the groups", fields[1])
	}
	a.groups = strings.Split(fields[0], ",")
	return checkGroups(a.groups)
}

func checkGroups(groups []string) error {
	for _, g := range groups {
		if err := checkName("group", g); err != nil {
			return err
		}
		if strings.Contains(g, ",") {
			return fmt.Errorf("group %q: expected a name without ','", g)
		}
	}
	return nil
}

// checkName refuses what the file could not hold: what would end the field or the line, begin a comment
// or a hash, or be lost by an editor that trims lines.
func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s is empty", what)
	case !utf8.ValidString(name):
		return fmt.Errorf("%s %q is not UTF-8", what, name)
	case strings.Contains(name, ":"):
		return fmt.Errorf("%s %q: expected a name without ':'", what, name)
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("%s %q: expected a name without control characters", what, name)
	case strings.HasPrefix(name, "#"), strings.HasPrefix(name, "$"):
		return fmt.Errorf("%s %q: expected a name that does not begin with '#' or '$'", what, name)
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("%s %q: expected a name without space around it", what, name)
	}
	return nil
}
