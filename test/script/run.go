package script

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
)

// Run plays every script below dir as a parallel subtest named by its file, and with several versions
// once for each. With rewrite the files take what came out instead of failing.
func Run(t *testing.T, dir string, rewrite bool, start func(t *testing.T, s Setup) (Target, error)) {
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".txt" {
			return err
		}
		files++
		name, _ := filepath.Rel(dir, strings.TrimSuffix(path, ".txt"))
		t.Run(filepath.ToSlash(name), func(t *testing.T) {
			t.Parallel()
			runFile(t, path, rewrite, start)
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatalf("no script below %s", dir)
	}
}

func runFile(t *testing.T, path string, rewrite bool, start func(t *testing.T, s Setup) (Target, error)) {
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n")))
	s, err := Parse(text)
	if err != nil {
		t.Fatalf("%s:%v", path, err)
	}
	want := s.Text(s.Want())
	for _, version := range s.Versions {
		play := func(t *testing.T) {
			got := playFile(t, path, s, version, start)
			if rewrite && version == s.Versions[0] && want != got {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Error(err)
				}
				want = got
			}
			if diff := Diff(want, got); diff != "" {
				t.Errorf("%s (- expected, + got)\n%s", path, diff)
			}
		}
		if len(s.Versions) == 1 {
			play(t)
			continue
		}
		t.Run(fmt.Sprintf("v%d", version), play)
	}
}

func playFile(t *testing.T, path string, s *Script, version byte, start func(t *testing.T, s Setup) (Target, error)) (got string) {
	synctest.Test(t, func(t *testing.T) {
		blocks, err := Play(s, version, func(setup Setup) (Target, error) { return start(t, setup) })
		if err != nil {
			t.Fatalf("%s:%v", path, err)
		}
		got = s.Text(blocks)
	})
	return got
}
