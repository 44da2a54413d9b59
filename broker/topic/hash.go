package topic

import (
	"hash/maphash"
	"math/bits"
)

// seed is secret to the process, so that no client can choose topics whose hashes collide.
var seed = maphash.MakeSeed()

func hashString(s string) uint64 { return maphash.String(seed, s) }

func hashBytes(b []byte) uint64 { return maphash.Bytes(seed, b) }

// mix gives the hash of a sequence from that of all but the last part and of the last.
func mix(before, last uint64) uint64 {
	hi, lo := bits.Mul64(before^0x9e3779b97f4a7c15, last^0xd6e8feb86659fd93)
	return hi ^ lo
}
