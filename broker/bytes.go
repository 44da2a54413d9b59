package broker

import "unsafe"

// bytesAsString views b as a string without copying. The string is valid while b is not changed: for a read
// buffer, until the packet has been handled.
func bytesAsString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
