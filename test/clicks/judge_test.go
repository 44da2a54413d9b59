package clicks

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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

// judge wants every message in a channel's journals, twice only if it was among what a worker had in flight when it was killed.
func (c *stage) judge(channel string, count int) (copies int) {
	c.Helper()
	taken, spare := make([]int, count+1), make([]int, count+1)
	for _, l := range c.lives(channel) {
		for i, n := range l.taken {
			if n < 1 || n > count {
				c.Fatalf("%s: %d was never published", l.name, n)
			}
			taken[n]++
			if l.died && i >= len(l.taken)-windows[channel] {
				spare[n]++
			}
		}
	}
	for n := 1; n <= count; n++ {
		switch {
		case taken[n] == 0:
			c.Errorf("%s: %d is missing", channel, n)
		case taken[n]-1 > spare[n]:
			c.Errorf("%s: %d was taken %d times, and %d times by one who died with it", channel, n, taken[n], spare[n])
		}
		copies += taken[n] - 1
	}
	return copies
}
