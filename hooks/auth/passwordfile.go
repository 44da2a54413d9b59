package auth

import (
	"bytes"
	"fmt"
	"strings"
)

// fileHeader stands at the top of a new password file.
const fileHeader = `# Penstock accounts, one a line. Edit with "penstock user", or by hand; the broker
# reads the file when it starts and on SIGHUP.
#
#   name:HASH            HASH  $argon2id$v=19$m=…,t=…,p=…$salt$hash
#   name:HASH:KEYS       KEYS  $scram-sha-256$i=…$salt$storedkey$serverkey
#   name:HASH:groups           groups separated by commas, for the rules of the ACL file
#   name:HASH:KEYS:groups
#
# Without KEYS an account cannot log in by SCRAM-SHA-256. Salts, hashes and keys are base64 without padding.
`

// A passwordFile is the lines of a password file, comments and blank lines included.
type passwordFile struct {
	lines []fileLine
}

type fileLine struct {
	text    string   // without the line's end
	account *account // nil for a comment or a blank line
}

// parsePasswordFile reads a file's text. name is what errors call the file.
func parsePasswordFile(name string, data []byte) (*passwordFile, error) {
	f := &passwordFile{}
	if len(data) == 0 {
		return f, nil
	}
	first := make(map[string]int) // the line of each name
	for i, raw := range bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n")) {
		line := fileLine{text: strings.TrimSuffix(string(raw), "\r")}
		if strings.TrimSpace(line.text) != "" && !strings.HasPrefix(line.text, "#") {
			a, err := parseAccount(line.text)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
			}
			if first[a.name] != 0 {
				return nil, fmt.Errorf("%s:%d: user %q is already on line %d", name, i+1, a.name, first[a.name])
			}
			first[a.name] = i + 1
			line.account = a
		}
		f.lines = append(f.lines, line)
	}
	return f, nil
}

// bytes is the file's text, each line ended.
func (f *passwordFile) bytes() []byte {
	var b bytes.Buffer
	for _, l := range f.lines {
		b.WriteString(l.text)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// find is the index of the line of a user, -1 if there is none.
func (f *passwordFile) find(name string) int {
	for i, l := range f.lines {
		if l.account != nil && l.account.name == name {
			return i
		}
	}
	return -1
}
