//go:build unix

package auth

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A new file is for its owner alone; an edited one keeps its owner, and its mode but for others.
func TestEditsKeepOwnerAndMode(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "passwords")
	must(t, AddUser(path, "alice", "a", nil))
	checkFile(t, path, 0o600, os.Geteuid())

	owner := os.Geteuid()
	if owner == 0 { // only root can give a file away
		owner = 65534
		must(t, os.Chown(path, owner, owner))
	}
	must(t, os.Chmod(path, 0o664))
	must(t, AddUser(path, "bob", "b", nil))
	checkFile(t, path, 0o640, owner)

	link := filepath.Join(folder, "link")
	must(t, os.Symlink(path, link))
	must(t, RemoveUser(link, "alice"))
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info, err)
	}
	if users, err := ListUsers(path); err != nil || len(users) != 1 {
		t.Errorf("behind the link: %v, %v", users, err)
	}
}

func checkFile(t *testing.T, path string, mode os.FileMode, owner int) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; info.Mode().Perm() != mode || int(uid) != owner {
		t.Errorf("mode %v of user %d, want %v of %d", info.Mode().Perm(), uid, mode, owner)
	}
}
