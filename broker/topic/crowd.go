package topic

import "sync/atomic"

const (
	chunkMax = 128 // values in a chunk: what a removal copies
	scanMax  = 64  // values up to which one is looked for without a map
)

// A crowd is a set of values in chunks, so that adding and removing cost the same in a
// large set as in a small one.
type crowd[V comparable] struct {
	// chunks has room for more chunks at its end, which are nil, as are chunks that have become empty.
	chunks atomic.Pointer[[]chunk[V]]
	// Only the writer touches these.
	len   int
	used  int         // chunks that exist, empty ones included
	roomy []int32     // those that are not full
	where map[V]int32 // the chunk of each value, from scanMax values on
}

// A chunk is replaced as a whole. A new one may share memory with the old, beyond the old one's length.
type chunk[V comparable] struct{ atomic.Pointer[[]V] }

func (c *chunk[V]) values() []V {
	if vs := c.Load(); vs != nil {
		return *vs
	}
	return nil
}

func (c *crowd[V]) appendTo(dst []V) []V {
	chunks := c.chunks.Load()
	for i := range *chunks {
		dst = append(dst, (*chunks)[i].values()...)
	}
	return dst
}

func (c *crowd[V]) add(v V) (added bool) {
	if _, present := c.find(v); present {
		return false
	}
	c.place(v)
	if c.where == nil && c.len > scanMax {
		c.locateAll()
	}
	return true
}

// place puts a value that is not there into a chunk with room.
func (c *crowd[V]) place(v V) {
	if len(c.roomy) == 0 {
		c.roomy = append(c.roomy, c.newChunk())
	}
	i := c.roomy[len(c.roomy)-1]
	at := &(*c.chunks.Load())[i]
	vs := append(at.values(), v)
	at.Store(&vs)
	if len(vs) == chunkMax {
		c.roomy = c.roomy[:len(c.roomy)-1]
	}
	if c.where != nil {
		c.where[v] = i
	}
	c.len++
}

// newChunk returns the number of a chunk not used so far.
func (c *crowd[V]) newChunk() int32 {
	chunks := c.chunks.Load()
	if chunks == nil || c.used == len(*chunks) {
		grown := make([]chunk[V], max(1, 2*c.used))
		for i := range c.used {
			grown[i].Store((*chunks)[i].Load())
		}
		c.chunks.Store(&grown)
	}
	c.used++
	return int32(c.used - 1)
}

func (c *crowd[V]) remove(v V) (removed bool) {
	i, present := c.find(v)
	if !present {
		return false
	}
	at := &(*c.chunks.Load())[i]
	old := at.values()
	if len(old) == 1 {
		at.Store(nil)
	} else {
		left := make([]V, 0, len(old)-1)
		for _, other := range old {
			if other != v {
				left = append(left, other)
			}
		}
		at.Store(&left)
	}
	if len(old) == chunkMax {
		c.roomy = append(c.roomy, i)
	}
	if c.where != nil {
		delete(c.where, v)
	}
	c.len--
	if c.used > 1 && c.len*4 < c.used*chunkMax {
		c.compact()
	}
	return true
}

// compact moves the values to as few chunks as they need. It is paid for by the removals before it.
func (c *crowd[V]) compact() {
	fresh := &crowd[V]{}
	for _, v := range c.appendTo(nil) {
		fresh.place(v)
	}
	c.chunks.Store(fresh.chunks.Load()) // readers see all of the old or all of the new
	c.len, c.used, c.roomy, c.where = fresh.len, fresh.used, fresh.roomy, nil
	if c.len > scanMax {
		c.locateAll()
	}
}

// locateAll makes the map.
func (c *crowd[V]) locateAll() {
	c.where = make(map[V]int32, c.len)
	chunks := *c.chunks.Load()
	for i := range c.used {
		for _, v := range chunks[i].values() {
			c.where[v] = int32(i)
		}
	}
}

func (c *crowd[V]) find(v V) (i int32, present bool) {
	if c.where != nil {
		i, present = c.where[v]
		return i, present
	}
	if c.len == 0 {
		return 0, false
	}
	chunks := *c.chunks.Load()
	for i := range c.used {
		for _, other := range chunks[i].values() {
			if other == v {
				return int32(i), true
			}
		}
	}
	return 0, false
}
