package main

// heapFloor is counted by the garbage collector as if it was in use: a small heap is then collected a third as
// often, for at most that much more memory. It is never touched, so it takes no memory itself. More would be felt by
// a broker with many idle connections (docs/performance.md, Steps).
const heapFloor = 8 << 20
