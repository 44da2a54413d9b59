package bench

import (
	"math/rand/v2"
	"testing"

	"github.com/penstockmq/penstock/test/setting"
)

// However messages are dropped, shuffled and repeated, a history counts them like a list of all that arrived.
func TestHistoryAgreesWithAList(t *testing.T) {
	random := setting.Random(t)
	for range 200 {
		var h history
		seen := make(map[uint64]bool)
		var last uint64
		const sent = 60
		for _, sequence := range shaken(random, sent) {
			want := inOrder
			switch {
			case seen[sequence]:
				want = again
			case sequence < last:
				want = late
			}
			if got := h.take(sequence); got != want {
				t.Fatalf("message %d after %d: got %d, want %d", sequence, last, got, want)
			}
			seen[sequence] = true
			last = max(last, sequence)
			if missing := h.missing(sent); missing != uint64(sent-len(seen)) {
				t.Fatalf("%d missing, want %d; gaps %v", missing, sent-len(seen), h.gaps)
			}
		}
	}
}

// shaken is 1 to n with some left out, some twice and some moved.
func shaken(random *rand.Rand, n int) []uint64 {
	var numbers []uint64
	for i := range n {
		for range [...]int{0, 1, 1, 1, 1, 2}[random.IntN(6)] {
			numbers = append(numbers, uint64(i+1))
		}
	}
	for range random.IntN(10) {
		i, j := random.IntN(len(numbers)), random.IntN(len(numbers))
		numbers[i], numbers[j] = numbers[j], numbers[i]
	}
	return numbers
}
