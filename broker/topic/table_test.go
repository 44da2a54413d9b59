package topic

import (
	"strconv"
	"testing"

	"github.com/penstockmq/penstock/test/setting"
)

// TestTableCollisions: entries of one hash are told apart by key and parent, whatever is removed between them.
func TestTableCollisions(t *testing.T) {
	r := setting.Random(t)
	var table table[int]
	parents := []*entry[int]{nil, {key: "p"}, {key: "q"}}
	var all []*entry[int]
	for i := range 300 {
		// Two hashes of one segment, next to each other.
		e := &entry[int]{key: strconv.Itoa(i / 3), parent: parents[i%3], hash: segmentsLen * uint32(2+i%2), body: i}
		all = append(all, e)
		table.insert(e)
	}
	gone := map[*entry[int]]bool{}
	for _, k := range r.Perm(len(all)) {
		table.remove(all[k])
		gone[all[k]] = true
		if r.IntN(3) == 0 { // an entry may come back into a slot that was freed
			table.insert(all[k])
			delete(gone, all[k])
		}
		for _, e := range all {
			if found := table.find(e.parent, e.hash, e.key); (found == e) == gone[e] {
				t.Fatalf("entry %d, gone: %v, is found: %v", e.body, gone[e], found != nil)
			}
		}
	}
	for _, parent := range parents[1:] {
		left := int32(0)
		for _, e := range all {
			if e.parent == parent && !gone[e] {
				left++
			}
		}
		if got := parent.edges.Load(); got != left {
			t.Errorf("%q counts %d edges, has %d", parent.key, got, left)
		}
	}
}
