package auth

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

// cheapHash is a hash that costs next to nothing, for tests that log in.
func cheapHash(password string) argon2id {
	h := argon2id{memory: 64, passes: 1, threads: 1, salt: []byte("salt of " + password + "....")}
	h.salt = h.salt[:min(len(h.salt), 64)]
	h.key = h.compute([]byte(password), argon2KeyLen)
	return h
}

// newAccount is an account with a cheap hash and cheap SCRAM keys.
func newAccount(t testing.TB, name, password string, groups ...string) *account {
	t.Helper()
	client, err := scram.SHA256.NewClientUnprepped(name, password, "")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt of " + name + "....", Iters: scramIterationsMin})
	if err != nil {
		t.Fatal(err)
	}
	return &account{name: name, hash: cheapHash(password), scram: &keys, groups: groups}
}

// writeFile makes a password file of lines, or replaces it.
func writeFile(t testing.TB, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fileOf makes a password file of accounts.
func fileOf(t testing.TB, accounts ...*account) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "passwords")
	var lines []string
	for _, a := range accounts {
		lines = append(lines, a.String())
	}
	writeFile(t, path, lines...)
	return path
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const (
	goodHash = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"
	zeroKey  = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	goodKeys = "$scram-sha-256$i=4096$c2FsdHNhbHQ$" + zeroKey + "$" + zeroKey
)

// What is wrong with a password file is told with file, line and what was expected.
func TestParsePasswordFileErrors(t *testing.T) {
	hashWith := func(params string) string {
		return "alice:$argon2id$v=19$" + params + "$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"
	}
	tests := []struct{ name, text, want string }{
		{"no hash", "alice", "f:1: expected name:$argon2id$…"},
		{"second line", "# a comment\nalice", "f:2: expected name"},
		{"plain password", "alice:secret", `f:1: user "alice": expected $argon2id$v=19$m=…,t=…,p=…$salt$hash`},
		{"mosquitto's hash", "alice:$7$101$c2FsdA==$aGFzaA==", "expected $argon2id$"},
		{"argon2i", "alice:" + strings.Replace(goodHash, "argon2id", "argon2i", 1), "expected $argon2id$"},
		{"version", "alice:" + strings.Replace(goodHash, "v=19", "v=16", 1), "argon2id version 16: expected 19"},
		{"order of parameters", hashWith("t=1,m=64,p=1"), "argon2id parameters"},
		{"no memory", hashWith("m=7,t=1,p=1"), "argon2id m=7: expected 8 to 262144 KiB"},
		{"all memory", hashWith("m=4194304,t=1,p=1"), "argon2id m=4194304: expected 8 to 262144 KiB"},
		{"no passes", hashWith("m=64,t=0,p=1"), "argon2id t=0: expected 1 to 100"},
		{"no threads", hashWith("m=64,t=1,p=0"), "argon2id p=0: expected 1 to 16"},
		{"negative", hashWith("m=-64,t=1,p=1"), "argon2id parameters"},
		{"leading zero", hashWith("m=064,t=1,p=1"), "expected plain numbers"},
		{"trailing text", hashWith("m=64,t=1,p=1,x=2"), "expected plain numbers"},
		{"padding", "alice:" + strings.Replace(goodHash, "c2FsdHNhbHQ", "c2FsdHNhbHQ=", 1), "argon2id salt: expected base64 without padding"},
		{"short salt", "alice:" + strings.Replace(goodHash, "c2FsdHNhbHQ", "c2FsdA", 1), "argon2id salt: 4 bytes: expected 8 to 64"},
		{"short hash", "alice:$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAA", "argon2id hash: 3 bytes: expected 16 to 64"},
		{"keys of another kind", "alice:" + goodHash + ":$scram-sha-1$x", "expected $scram-sha-256$i=…"},
		{"few iterations", "alice:" + goodHash + ":" + strings.Replace(goodKeys, "4096", "4095", 1), "i=4095: expected 4096 to"},
		{"iterations with a sign", "alice:" + goodHash + ":" + strings.Replace(goodKeys, "4096", "+4096", 1), "expected a plain number"},
		{"short key", "alice:" + goodHash + ":" + strings.Replace(goodKeys, zeroKey, "AAAA", 1), "stored key: 3 bytes: expected 32 to 32"},
		{"no iterations", "alice:" + goodHash + ":" + strings.Replace(goodKeys, "i=", "n=", 1), "expected i=…"},
		{"fields behind the groups", "alice:" + goodHash + ":ops:more", `field "more": expected the end of the line`},
		{"empty group", "alice:" + goodHash + ":ops,", "group is empty"},
		{"space around a group", "alice:" + goodHash + ":ops, dev", `group " dev": expected a name without space around it`},
		{"space around the name", " alice:" + goodHash, `username " alice": expected a name without space around it`},
		{"empty name", ":" + goodHash, "f:1: username is empty"},
		{"control character", "al\tice:" + goodHash, "expected a name without control characters"},
		{"not UTF-8", "al\xffice:" + goodHash, "is not UTF-8"},
		{"twice", "alice:" + goodHash + "\n\nalice:" + goodHash, `f:3: user "alice" is already on line 1`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parsePasswordFile("f", []byte(tt.text))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.HasPrefix(err.Error(), "f:") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q\nwant  %q in it", err, tt.want)
			}
		})
	}
}

// Comments and blank lines are no accounts; each of the four kinds of line is one.
func TestParsePasswordFile(t *testing.T) {
	text := strings.Join([]string{
		"# comment", "", "  \t", "a:" + goodHash, "b:" + goodHash + ":" + goodKeys,
		"c:" + goodHash + ":ops,dev", "d d:" + goodHash + ":" + goodKeys + ":ops\r", "#e:" + goodHash,
	}, "\n")
	f, err := parsePasswordFile("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	type summary struct {
		name   string
		scram  bool
		groups []string
	}
	var got []summary
	for _, l := range f.lines {
		if a := l.account; a != nil {
			got = append(got, summary{a.name, a.scram != nil, a.groups})
		}
	}
	want := []summary{{"a", false, nil}, {"b", true, nil}, {"c", false, []string{"ops", "dev"}}, {"d d", true, []string{"ops"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// The header of a new file is nothing but comments.
func TestFileHeaderIsComments(t *testing.T) {
	f, err := parsePasswordFile("f", []byte(fileHeader))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range f.lines {
		if !strings.HasPrefix(l.text, "#") {
			t.Errorf("line %q", l.text)
		}
	}
}

// A new hash costs what the constants say and fits its own password only.
func TestNewHash(t *testing.T) {
	h := newArgon2id([]byte("secret"))
	if !strings.HasPrefix(h.String(), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash %s", h)
	}
	again, err := parseArgon2id(h.String())
	if err != nil {
		t.Fatal(err)
	}
	if !again.matches([]byte("secret")) || again.matches([]byte("Secret")) {
		t.Error("the hash does not tell passwords apart")
	}
	if other := newArgon2id([]byte("secret")); other.String() == h.String() {
		t.Error("two hashes with one salt")
	}
}

// No text makes the parser panic; what it accepts is written as it was read.
func FuzzParsePasswordFile(f *testing.F) {
	f.Add([]byte(fileHeader))
	f.Add([]byte("a:" + goodHash + ":" + goodKeys + ":ops,dev\n\n#\n"))
	f.Add([]byte("b:" + goodHash + ":ops"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parsePasswordFile("f", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("error does not begin with the file: %v", err)
			}
			return
		}
		for _, l := range file.lines {
			if l.account != nil && l.account.String() != l.text {
				t.Errorf("read %q\nwrote %q", l.text, l.account)
			}
		}
		again, err := parsePasswordFile("f", file.bytes())
		if err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
		if len(again.lines) != len(file.lines) {
			t.Errorf("%d lines became %d", len(file.lines), len(again.lines))
		}
	})
}
