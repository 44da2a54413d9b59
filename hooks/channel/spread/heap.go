package spread

// A heap keeps its least item on top and finds any item by the index stored in it.
type heap[T any] struct {
	items []T
	less  func(a, b T) bool
	index func(T) *int // where the item notes its index plus one; 0 is not in a heap
}

func (h *heap[T]) len() int { return len(h.items) }

// top is the least item; the heap must not be empty.
func (h *heap[T]) top() T { return h.items[0] }

func (h *heap[T]) push(item T) {
	h.items = append(h.items, item)
	*h.index(item) = len(h.items)
	h.up(len(h.items) - 1)
}

func (h *heap[T]) pop() T {
	item := h.items[0]
	h.remove(item)
	return item
}

// remove takes out an item that is in this heap.
func (h *heap[T]) remove(item T) {
	i, last := *h.index(item)-1, len(h.items)-1
	h.swap(i, last)
	var none T
	h.items[last] = none
	h.items = h.items[:last]
	*h.index(item) = 0
	if i < last {
		h.settle(i)
	}
}

// fix puts an item in its place after its order changed.
func (h *heap[T]) fix(item T) { h.settle(*h.index(item) - 1) }

func (h *heap[T]) settle(i int) {
	if !h.down(i) {
		h.up(i)
	}
}

func (h *heap[T]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(h.items[i], h.items[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *heap[T]) down(i int) (moved bool) {
	for {
		least := 2*i + 1
		if least >= len(h.items) {
			return moved
		}
		if right := least + 1; right < len(h.items) && h.less(h.items[right], h.items[least]) {
			least = right
		}
		if !h.less(h.items[least], h.items[i]) {
			return moved
		}
		h.swap(i, least)
		i, moved = least, true
	}
}

func (h *heap[T]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.index(h.items[i]), *h.index(h.items[j]) = i+1, j+1
}
