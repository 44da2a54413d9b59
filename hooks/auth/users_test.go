package auth

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/penstockmq/penstock/hooks"
)

// must fails the test if an edit that should work does not.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func allows(t *testing.T, path, user, password string) bool {
	t.Helper()
	return loadPasswords(t, path).Authenticate(t.Context(), &hooks.Client{}, login(user, password)).Verdict == hooks.Allow
}

// What the commands write is what the hook reads, from the first account of a new file on.
func TestUsersLifeCycle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwords")
	must(t, AddUser(path, "alice", "secret", []string{"ops", "dev"}))
	must(t, AddUser(path, "bob b", "pässword:$", nil))
	if text := readFile(t, path); !strings.HasPrefix(text, fileHeader) || strings.Contains(text, "secret") {
		t.Errorf("file:\n%s", text)
	}
	users, err := ListUsers(path)
	want := []User{{Name: "alice", Groups: []string{"ops", "dev"}, SCRAM: true}, {Name: "bob b", SCRAM: true}}
	if err != nil || !reflect.DeepEqual(users, want) {
		t.Errorf("users %+v, %v", users, err)
	}
	if !allows(t, path, "alice", "secret") || !allows(t, path, "bob b", "pässword:$") {
		t.Error("new accounts cannot log in")
	}
	must(t, SetPassword(path, "alice", "other"))
	if allows(t, path, "alice", "secret") || !allows(t, path, "alice", "other") {
		t.Error("the password did not change")
	}
	if again, err := ListUsers(path); err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("after a new password %+v, %v", again, err)
	}
	must(t, RemoveUser(path, "alice"))
	if users, err := ListUsers(path); err != nil || len(users) != 1 || users[0].Name != "bob b" {
		t.Errorf("after removal %+v, %v", users, err)
	}
}

// An edit touches one line: comments, order, line ends and the other accounts stay as they are.
func TestEditsKeepTheRest(t *testing.T) {
	for _, end := range []string{"\n", "\r\n"} {
		alice, bob := newAccount(t, "alice", "a", "ops"), newAccount(t, "bob", "b")
		alice.scram = nil
		path := filepath.Join(t.TempDir(), "passwords")
		before := []string{"# staff", "", alice.String(), "#" + alice.String(), bob.String(), "# end", ""}
		must(t, os.WriteFile(path, []byte(strings.Join(before, end)), 0o600))
		must(t, SetPassword(path, "alice", "new"))
		must(t, AddUser(path, "carol", "c", nil))

		after := strings.Split(readFile(t, path), end)
		changed := after[2]
		if !strings.HasPrefix(changed, "alice:$argon2id$") || !strings.HasSuffix(changed, ":ops") || strings.Contains(changed, "$scram") {
			t.Errorf("changed line %q", changed)
		}
		if !strings.HasPrefix(after[6], "carol:") || len(after) != 8 || after[7] != "" {
			t.Errorf("added lines %q", after[6:])
		}
		after[2] = before[2]
		if !reflect.DeepEqual(after[:6], before[:6]) {
			t.Errorf("other lines changed:\n%q\n%q", before[:6], after[:6])
		}
		must(t, RemoveUser(path, "carol"))
		must(t, RemoveUser(path, "alice"))
		want := strings.Join([]string{"# staff", "", "#" + alice.String(), bob.String(), "# end", ""}, end)
		if got := readFile(t, path); got != want {
			t.Errorf("after removals\n%q, want\n%q", got, want)
		}
	}
}

// What cannot be done changes nothing and says why.
func TestEditsRefuse(t *testing.T) {
	alice := newAccount(t, "alice", "a")
	path := fileOf(t, alice)
	broken := filepath.Join(t.TempDir(), "broken")
	writeFile(t, broken, "alice")
	missing := filepath.Join(t.TempDir(), "missing")
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"add twice", AddUser(path, "alice", "x", nil), `user "alice": user exists`},
		{"colon in the name", AddUser(path, "a:b", "x", nil), "expected a name without ':'"},
		{"control character in the name", AddUser(path, "a\nb", "x", nil), "expected a name without control characters"},
		{"comment as name", AddUser(path, "#a", "x", nil), "does not begin with '#' or '$'"},
		{"empty name", AddUser(path, "", "x", nil), "username is empty"},
		{"comma in a group", AddUser(path, "b", "x", []string{"a,b"}), `group "a,b": expected a name without ','`},
		{"colon in a group", AddUser(path, "b", "x", []string{"a:b"}), "expected a name without ':'"},
		{"empty password", AddUser(path, "b", "", nil), "password is empty"},
		{"empty new password", SetPassword(path, "alice", ""), "password is empty"},
		{"password of nobody", SetPassword(path, "bob", "x"), `user "bob": no such user`},
		{"remove nobody", RemoveUser(path, "bob"), `user "bob": no such user`},
		{"broken file", AddUser(broken, "bob", "x", nil), broken + ":1: expected name"},
		{"no file for a password", SetPassword(missing, "bob", "x"), "no such file"},
		{"no file to remove from", RemoveUser(missing, "bob"), "no such file"},
	}
	for _, tt := range tests {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q in it", tt.name, tt.err, tt.want)
		}
	}
	if got := readFile(t, path); got != alice.String()+"\n" {
		t.Errorf("the file changed:\n%s", got)
	}
	for _, p := range []string{path, broken, missing} {
		if left, _ := filepath.Glob(p + "?*"); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
	if !errors.Is(tests[0].err, ErrUserExists) || !errors.Is(tests[9].err, ErrNoUser) || !errors.Is(tests[7].err, ErrEmptyPassword) {
		t.Error("the reasons are not those of errors.go")
	}
}

// Two edits at once never lose one: the later is told to wait.
func TestEditsDoNotOverlap(t *testing.T) {
	path := fileOf(t)
	names := []string{"a", "b", "c", "d"}
	var adding sync.WaitGroup
	for _, name := range names {
		a := newAccount(t, name, "x")
		adding.Go(func() {
			err := ErrBeingEdited
			for errors.Is(err, ErrBeingEdited) {
				err = edit(path, func(f *passwordFile) error {
					f.lines = append(f.lines, fileLine{text: a.String(), account: a})
					return nil
				})
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	adding.Wait()
	if users, err := ListUsers(path); err != nil || len(users) != len(names) {
		t.Errorf("%d users, %v", len(users), err)
	}
}

// An edit that was cut off leaves the old file, and the next edit says what to do.
func TestInterruptedEdit(t *testing.T) {
	path := fileOf(t, newAccount(t, "alice", "a"))
	writeFile(t, path+".new", "half a li")
	err := RemoveUser(path, "alice")
	if !errors.Is(err, ErrBeingEdited) || !strings.Contains(err.Error(), path+".new exists") {
		t.Errorf("error %v", err)
	}
	if users, err := ListUsers(path); err != nil || len(users) != 1 {
		t.Errorf("users %v, %v", users, err)
	}
}
