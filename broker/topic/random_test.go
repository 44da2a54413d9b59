package topic

import (
	"math/rand/v2"
	"strings"
)

// randomName is a valid name of up to six levels from a small alphabet.
func randomName(r *rand.Rand) string { return randomLevels(r, []string{"", "a", "b", "$SYS"}) }

// randomFilter is a valid filter of up to six levels, and one more that may be #.
func randomFilter(r *rand.Rand) string {
	filter := randomLevels(r, []string{"", "a", "b", "$SYS", "+", "+"})
	switch r.IntN(8) {
	case 0, 1:
		return filter + "/#"
	case 2:
		return "#"
	}
	return filter
}

func randomLevels(r *rand.Rand, alphabet []string) string {
	for {
		levels := make([]string, 1+r.IntN(6))
		for i := range levels {
			levels[i] = alphabet[r.IntN(len(alphabet))]
		}
		if s := strings.Join(levels, "/"); s != "" {
			return s
		}
	}
}
