package broker

import "unsafe"

// bytesAsString views b as a string without copying. The string is valid while b is not changed: for a read
// buffer, until the packet has been handled.
func bytesAsString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// stringAsBytes views s as bytes without copying. They must not be changed.
func stringAsBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
