package clicks

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A life is what one worker took down, in order.
type life struct {
	name  string
	taken []int
	died  bool // it was killed
}

// lives reads the journals of a channel. A worker of the archive has a file for each rotation; what was torn is repaired
// by those that come later.
func (c *stage) lives(channel string) (lives []*life) {
	c.Helper()
	paths, err := filepath.Glob(c.path(channel + ".*"))
	if err != nil {
		c.Fatal(err)
	}
	slices.SortFunc(paths, func(a, b string) int {
		return strings.Compare(strings.TrimSuffix(a, ".log"), strings.TrimSuffix(b, ".log"))
	})
	byName := map[string]*life{}
	for _, path := range paths {
		if strings.Contains(path, ".part-") {
			c.Errorf("%s is not finished", path)
		}
		name, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".log"), "-") // archive.w7-000002.log is the third of archive.w7
		if byName[name] == nil {
			byName[name] = &life{name: name, died: c.died[name]}
			lives = append(lives, byName[name])
		}
		data, err := os.ReadFile(path)
		if err != nil {
			c.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			n, err := strconv.Atoi(strings.TrimSuffix(line, "\n"))
			if err != nil || !strings.HasSuffix(line, "\n") {
				if channel != archive && byName[name].died { // cut off in the middle of a write
					continue
				}
				c.Errorf("%s: %q", path, line)
			}
			byName[name].taken = append(byName[name].taken, n)
		}
	}
	return lives
}

// judge wants every message to be taken down, twice only if it was among what a worker had in flight when it was killed.
func judge(lives []*life, window, count int) (copies int, wrong []string) {
	taken, spare := make([]int, count+1), make([]int, count+1)
	for _, l := range lives {
		for i, n := range l.taken {
			if n < 1 || n > count {
				wrong = append(wrong, fmt.Sprintf("%s took %d, which was never published", l.name, n))
				continue
			}
			taken[n]++
			if l.died && i >= len(l.taken)-window {
				spare[n]++
			}
		}
	}
	for n := 1; n <= count; n++ {
		switch {
		case taken[n] == 0:
			wrong = append(wrong, fmt.Sprint(n, " is missing"))
		case taken[n]-1 > spare[n]:
			wrong = append(wrong, fmt.Sprintf("%d was taken %d times, and %d times by one who died with it", n, taken[n], spare[n]))
		}
		copies += max(0, taken[n]-1)
	}
	return copies, wrong
}

// What is missing, what came twice without a death and what nobody published is found; what a worker died with is not.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name   string
		lives  []*life
		copies int
		wrong  int
	}{
		{"shared", []*life{{taken: []int{1, 4}}, {taken: []int{2, 3}}}, 0, 0},
		{"died with one", []*life{{taken: []int{1, 4, 2}, died: true}, {taken: []int{3, 2}}}, 1, 0},
		{"came again after more than the window", []*life{{taken: []int{2, 1, 4}, died: true}, {taken: []int{3, 2}}}, 1, 1},
		{"came again, nobody died", []*life{{taken: []int{1, 4, 2}}, {taken: []int{3, 2}}}, 1, 1},
		{"missing", []*life{{taken: []int{1, 2, 4}}}, 0, 1},
		{"never published", []*life{{taken: []int{1, 2, 3, 4, 5}}}, 0, 1},
	} {
		if copies, wrong := judge(c.lives, 2, 4); copies != c.copies || len(wrong) != c.wrong {
			t.Errorf("%s: %d copies and %v, want %d and %d findings", c.name, copies, wrong, c.copies, c.wrong)
		}
	}
}
