package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A process is a broker's process as Linux accounts for it.
type process int

// processes are those of one broker, or of several that work together.
type processes []int

// sum adds up a figure of each.
func sum[N int64 | time.Duration](p processes, of func(process) (N, error)) (total N, err error) {
	for _, pid := range p {
		n, err := of(process(pid))
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

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

// family is a process and all that descend from it, as a broker may be started by a script.
func family(pid int) []int {
	children := make(map[int][]int)
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	for _, file := range files {
		if child, parent, ok := parseParent(readText(file)); ok {
			children[parent] = append(children[parent], child)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// parseParent takes pid and ppid, fields 1 and 4, from the text of /proc/PID/stat, which is empty if the process has ended.
func parseParent(stat string) (pid, parent int, ok bool) {
	front, _, _ := strings.Cut(stat, " ")
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, 0, false
	}
	pid, pidErr := strconv.Atoi(front)
	parent, parentErr := strconv.Atoi(fields[1])
	return pid, parent, pidErr == nil && parentErr == nil
}
