//go:build !linux

package bench

func isMemory(string) (bool, error) { return false, ErrPlatform }
