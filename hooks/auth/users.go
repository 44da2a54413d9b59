package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A User is what ListUsers tells of an account.
type User struct {
	Name   string
	Groups []string
	SCRAM  bool // can log in by SCRAM-SHA-256
}

// AddUser adds an account at the end of a password file, which is made if it does not exist. It fails with
// ErrUserExists if the name is taken.
func AddUser(path, user, password string, groups []string) error {
	if err := checkName("username", user); err != nil {
		return err
	}
	if err := checkGroups(groups); err != nil {
		return err
	}
	a := &account{name: user, groups: groups}
	keys, err := a.setPassword(password)
	if err != nil {
		return err
	}
	a.scram = &keys
	if err := createFile(path); err != nil {
		return err
	}
	return edit(path, func(f *passwordFile) error {
		if f.find(user) >= 0 {
			return fmt.Errorf("user %q: %w", user, ErrUserExists)
		}
		f.lines = append(f.lines, fileLine{text: a.String(), account: a})
		return nil
	})
}

// SetPassword gives a user another password. Groups stay; an account without SCRAM keys stays
// without. It fails with ErrNoUser if there is no such user.
func SetPassword(path, user, password string) error {
	next := &account{name: user}
	keys, err := next.setPassword(password)
	if err != nil {
		return err
	}
	return edit(path, func(f *passwordFile) error {
		i := f.find(user)
		if i < 0 {
			return fmt.Errorf("user %q: %w", user, ErrNoUser)
		}
		next.groups = f.lines[i].account.groups
		if f.lines[i].account.scram != nil {
			next.scram = &keys
		}
		f.lines[i] = fileLine{text: next.String(), account: next}
		return nil
	})
}

// RemoveUser takes an account out of a password file. It fails with ErrNoUser if there is no such user.
func RemoveUser(path, user string) error {
	return edit(path, func(f *passwordFile) error {
		i := f.find(user)
		if i < 0 {
			return fmt.Errorf("user %q: %w", user, ErrNoUser)
		}
		f.lines = slices.Delete(f.lines, i, i+1)
		return nil
	})
}

// ListUsers tells the accounts of a password file in the file's order.
func ListUsers(path string) ([]User, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f, err := parsePasswordFile(path, data)
	if err != nil {
		return nil, err
	}
	var users []User
	for _, l := range f.lines {
		if a := l.account; a != nil {
			users = append(users, User{Name: a.name, Groups: slices.Clone(a.groups), SCRAM: a.scram != nil})
		}
	}
	return users, nil
}

// setPassword hashes the password, and returns the SCRAM keys that go with it.
func (a *account) setPassword(password string) (scramKeys, error) {
	if password == "" {
		return scramKeys{}, ErrEmptyPassword
	}
	a.hash = newArgon2id([]byte(password))
	return newSCRAMKeys(password)
}

// createFile makes an empty password file where there is none.
func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(fileHeader)
	return errors.Join(err, f.Close())
}

// edit changes a password file as one step: whoever reads it, also after a crash, finds the old text or
// the new. The new text is written beside the file, under a name that at the same time
// keeps two edits from overlapping.
func edit(path string, change func(*passwordFile) error) error {
	path, err := filepath.EvalSymlinks(path) // a link stays a link
	if err != nil {
		return err
	}
	w, err := os.OpenFile(path+".new", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s.new exists; if nobody is editing, an edit was interrupted: remove it", ErrBeingEdited, path)
	}
	if err != nil {
		return err
	}
	err = errors.Join(rewrite(w, path, change), w.Close())
	if err == nil {
		err = os.Rename(w.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(w.Name()))
	}
	return syncFolder(filepath.Dir(path))
}

// rewrite writes the changed text of the file at path to w, with the file's owner and mode, but never open to
// others.
func rewrite(w *os.File, path string, change func(*passwordFile) error) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := parsePasswordFile(path, data)
	if err != nil {
		return err
	}
	if err := change(f); err != nil {
		return err
	}
	if err := keepOwner(w, info); err != nil {
		return err
	}
	if err := w.Chmod(info.Mode().Perm() & 0o640); err != nil {
		return err
	}
	text := f.bytes()
	if strings.Contains(string(data), "\r\n") {
		text = []byte(strings.ReplaceAll(string(text), "\n", "\r\n"))
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	return w.Sync()
}
