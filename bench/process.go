package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A process is a broker's process as Linux accounts for it.
type process int

// clockTick is the unit of times in /proc, which is the same on every architecture that Go runs on (USER_HZ).
const clockTick = time.Second / 100

// cpu is the processor time all threads took so far, in user and kernel mode.
func (p process) cpu() (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", int(p)))
	if err != nil {
		return 0, fmt.Errorf("bench: broker's process: %w", err)
	}
	return parseStat(data)
}

// parseStat takes utime and stime, fields 14 and 15, from the text of /proc/PID/stat (proc(5)).
func parseStat(data []byte) (time.Duration, error) {
	// Field 2 is a name that may hold anything, in parentheses.
	after := data[bytes.LastIndexByte(data, ')')+1:]
	fields := strings.Fields(string(after))
	const utime, stime = 14 - 3, 15 - 3
	if len(fields) <= stime {
		return 0, fmt.Errorf("bench: unexpected /proc/PID/stat: %q", data)
	}
	var ticks int64
	for _, f := range []string{fields[utime], fields[stime]} {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("bench: unexpected /proc/PID/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// rss is the memory the process has in use, in bytes.
func (p process) rss() (int64, error) { return p.memory("VmRSS") }

// anonymous is the part of rss that is no page of a file: what a broker that maps its files needs.
func (p process) anonymous() (int64, error) { return p.memory("RssAnon") }

func (p process) memory(key string) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", int(p)))
	if err != nil {
		return 0, fmt.Errorf("bench: broker's process: %w", err)
	}
	return parseStatus(data, key)
}

// parseStatus takes a size from the text of /proc/PID/status (proc(5)).
func parseStatus(data []byte, key string) (int64, error) {
	for line := range strings.Lines(string(data)) {
		value, found := strings.CutPrefix(line, key+":")
		if !found {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("bench: unexpected /proc/PID/status: %w", err)
		}
		return kb << 10, nil
	}
	return 0, fmt.Errorf("bench: no %s in /proc/PID/status: has the process ended?", key)
}
