//go:build linux

package image

import (
	"debug/elf"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The machine's certificates, which stand for those of the build stage's Debian.
const authorities = "/etc/ssl/certs/ca-certificates.crt"

// A root is the root file system of an image, in a folder.
type root struct {
	dir      string
	uid, gid int // of USER
}

// newRoot builds the root file system of the image's last stage. Files written in the Dockerfile go through edit.
func newRoot(t *testing.T, stages []stage, edit func(string) string) root {
	t.Helper()
	final := stages[len(stages)-1]
	if final.from != "scratch" {
		t.Fatalf("the image is built from %s, want scratch", final.from)
	}
	// A folder of t.TempDir would be in one that the image's user may not enter.
	dir, err := os.MkdirTemp("", "penstock-image-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r := root{dir: dir}
	for _, in := range final.instructions {
		switch in.name {
		case "COPY":
			r.copy(t, stages, in, edit)
		case "USER":
			r.uid, r.gid = ids(t, in.text)
		case "WORKDIR", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD":
		default:
			t.Fatalf("%s %s: unknown in this test", in.name, in.text)
		}
	}
	return r
}

// ids parses uid:gid.
func ids(t *testing.T, s string) (uid, gid int) {
	t.Helper()
	u, g, _ := strings.Cut(s, ":")
	uid, err := strconv.Atoi(u)
	gid, err2 := strconv.Atoi(g)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return uid, gid
}

// copy obeys one COPY.
func (r root) copy(t *testing.T, stages []stage, in instruction, edit func(string) string) {
	t.Helper()
	if len(in.words) != 2 {
		t.Fatalf("COPY %s: this test knows one source only", in.text)
	}
	to := filepath.Join(r.dir, in.words[1])
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	switch source := in.words[0]; {
	case in.here != "":
		write(t, to, []byte(edit(in.here)))
	case in.flags["from"] == "":
		t.Fatalf("COPY %s: the image copies from the build stage only", in.text)
	default:
		build := stages[0]
		if build.name != in.flags["from"] {
			t.Fatalf("COPY --from=%s: the first stage is %q", in.flags["from"], build.name)
		}
		fromBuild(t, build, source, to)
	}
	if owner := in.flags["chown"]; owner != "" {
		uid, gid := ids(t, owner)
		if err := os.Chown(to, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
}

// fromBuild makes at to what the build stage leaves at source.
func fromBuild(t *testing.T, build stage, source, to string) {
	t.Helper()
	if source == authorities {
		b, err := os.ReadFile(authorities)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		write(t, to, b)
		return
	}
	for _, in := range build.instructions {
		switch {
		case in.name != "RUN":
		case in.text == "mkdir "+source:
			if err := os.Mkdir(to, 0o755); err != nil {
				t.Fatal(err)
			}
			return
		case strings.Contains(in.text, " -o "+source+" "):
			compile(t, strings.Replace(in.text, " -o "+source+" ", " -o '"+to+"' ", 1))
			return
		}
	}
	t.Fatalf("nothing in the build stage makes %s", source)
}

// compile runs the build stage's go build at the repository's root.
func compile(t *testing.T, command string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir, cmd.Env = repository, append(os.Environ(), "VERSION=image-test")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

func write(t *testing.T, file string, contents []byte) {
	t.Helper()
	if err := os.WriteFile(file, contents, 0o644); err != nil {
		t.Fatal(err)
	}
}

// expectStatic checks that a program asks for no interpreter, which the image has not.
func expectStatic(t *testing.T, program string) {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Errorf("%s is linked dynamically", program)
		}
	}
}
