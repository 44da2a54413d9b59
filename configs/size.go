package configs

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A unit is a suffix of a size. KiB is 1024 bytes, kB is 1000.
type unit struct {
	name  string
	bytes int64
}

// units, longest names first, because every name ends in that of the last.
var units = []unit{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

var errSize = errors.New("not a size")

// ParseSize reads a number of bytes such as 1MiB, 64 KiB, 1GB or 4096.
func ParseSize(text string) (int64, error) {
	n, err := parseSize(text)
	if err != nil {
		return 0, fmt.Errorf("expected a number of bytes such as 1MiB or 4096, got %q", text)
	}
	return n, nil
}

// parseSize reads a number of bytes such as 1MiB, 64 KiB, 1GB or 4096.
func parseSize(text string) (int64, error) {
	factor := int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			text, factor = strings.TrimRight(rest, " "), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return 0, errSize
	}
	return n * factor, nil
}

// formatSize writes a number of bytes with the largest unit of 1024 that divides it.
func formatSize(n int64) string {
	for i := 3; i >= 0; i-- {
		if u := units[i]; n >= u.bytes && n%u.bytes == 0 {
			return fmt.Sprintf("%d%s", n/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(n, 10)
}
