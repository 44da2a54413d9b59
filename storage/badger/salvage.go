package badger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What this file knows of Badger's files (4.9.6): a log begins with 20 bytes of header, and an entry is meta, user meta, three
// uvarints (length of key and value, expiry), key, value and a big-endian CRC-32C of all that; zeros follow the last one.
const (
	logHeader    = 20
	memSuffix    = ".mem"
	valueSuffix  = ".vlog"
	logMeta      = 2
	logNumbers   = 3
	checksumSize = 4
	headMost     = 22 // what is in front of the key takes at most so much
)

// txnEnd begins the key of the entry that ends a transaction.
var txnEnd = []byte("!badger!txn")

// salvage looks at Badger's logs before Badger does, which cuts them at the first byte it does not like: it keeps what
// would be cut, and keeps Badger from cutting value logs at all, because behind one bad value there are good ones.
func (s *Store) salvage() error {
	if err := s.mend(); err != nil {
		return err
	}
	if err := s.dropUseless(); err != nil {
		return err
	}
	names, err := logNames(s.options.Path)
	if err != nil {
		return err
	}
	if err := s.checkLog(names); err != nil {
		return err
	}
	var lastValues string
	for _, name := range names {
		path := filepath.Join(s.options.Path, name)
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		switch {
		case info.Size() == 0:
			// Badger does not open the folder with it. A process that is killed while it makes the file leaves it so, hence it is no loss.
			s.options.Log.Warn("storage: an empty log was removed", "reason", name)
			err = os.Remove(path)
		case strings.HasSuffix(name, memSuffix):
			err = s.salvageTables(path, name)
		default:
			lastValues = name
		}
		if err != nil {
			return err
		}
	}
	if lastValues == "" {
		return nil
	}
	return s.addValues(lastValues)
}

// dropUseless removes files that Badger makes anew, if they are damaged: what they hold is not needed, but Badger does not open the folder
// with them, or fails later. KEYREGISTRY has no keys, because nothing is encrypted; DISCARD has statistics.
func (s *Store) dropUseless() error {
	const discardBytes, registryLeast = 1 << 20, 16 + len("Hello Badger")
	for name, wrong := range map[string]func(size int64) bool{
		"DISCARD":     func(size int64) bool { return size != discardBytes },
		"KEYREGISTRY": func(size int64) bool { return size < int64(registryLeast) },
	} {
		path := filepath.Join(s.options.Path, name)
		info, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) || err == nil && !wrong(info.Size()) {
			continue
		}
		if err != nil {
			return err
		}
		s.options.Log.Warn("storage: a damaged file was removed, which is made anew", "reason", name)
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// logNames lists the logs in their order.
func logNames(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, memSuffix) || strings.HasSuffix(name, valueSuffix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// salvageTables keeps what is behind the last whole entry of a log of tables, unless that is a write that did not end. After a crash of
// the machine, which may have written pages in any order, it can be one all the same, and was not acknowledged.
func (s *Store) salvageTables(path, name string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return withFile(path, func(data []byte) error {
		end, used := logEnd(data), usedBytes(data)
		switch {
		case used <= end:
		case unfinished(data, end, used, info.Size()):
			s.options.Log.Info("storage: a write that had not ended was removed", "reason", fmt.Sprintf("%s: %d bytes", name, used-end))
		default:
			s.loseFile(name, data[end:used], fmt.Sprintf(
				"%d bytes after offset %d are not whole; they may be a write that had not ended", used-end, end))
		}
		return nil
	})
}

// unfinished reports whether what is between the last whole entry of a log and the zeros behind is the beginning of one more entry: that
// is what a process leaves that is killed while it copies the entry to the mapped log, which has size bytes. What was written behind it, or
// a file in which it has no room, shows that it is not.
func unfinished(data []byte, end, used int, size int64) bool {
	rest := data[end:used]
	var front [headMost]byte // zeros behind what there is
	copy(front[:], rest)
	head, numbers, ok := entryHead(front[:])
	if !ok || max(numbers[0], numbers[1]) > uint64(size) {
		return false
	}
	if numbers[0] == 0 { // the numbers are not there yet
		return len(rest) <= logMeta && int64(end)+headMost <= size
	}
	last := int64(end) + int64(head+numbers[0]+numbers[1]+checksumSize)
	return int64(used) < last && last <= size && !bytes.Contains(rest[min(int(head)+1, len(rest)):], txnEnd)
}

func usedBytes(data []byte) int {
	used := len(data)
	for used > 0 && data[used-1] == 0 {
		used--
	}
	return used
}

// logEnd is the offset behind the last whole entry of a log.
func logEnd(data []byte) int {
	end := min(logHeader, len(data))
	for {
		n := entrySize(data[end:])
		if n == 0 {
			return end
		}
		end += n
	}
}

// eachLogKey calls f with the key of every whole entry of a log.
func eachLogKey(data []byte, f func(key []byte)) {
	for at := min(logHeader, len(data)); ; {
		n := entrySize(data[at:])
		if n == 0 {
			return
		}
		c := &cursor{rest: data[at+2 : at+n]}
		length := c.uvarint()
		c.uvarint()
		c.uvarint()
		f(c.rest[:length])
		at += n
	}
}

// entrySize is the length of the entry with which data begins; 0 if it is not whole.
func entrySize(data []byte) int {
	size, numbers, ok := entryHead(data)
	left := uint64(len(data)) - size
	if !ok || numbers[0] == 0 || numbers[0] > left || numbers[1] > left || numbers[0]+numbers[1]+checksumSize > left {
		return 0
	}
	size += numbers[0] + numbers[1]
	if binary.BigEndian.Uint32(data[size:]) != checksum(data[:size]) {
		return 0
	}
	return int(size) + checksumSize
}

// entryHead is the size of what is in front of an entry's key, and the numbers in it.
func entryHead(data []byte) (size uint64, numbers [logNumbers]uint64, ok bool) {
	size = logMeta
	for i := range numbers {
		if size > uint64(len(data)) {
			return 0, numbers, false
		}
		v, n := binary.Uvarint(data[size:])
		if n <= 0 {
			return 0, numbers, false
		}
		numbers[i] = v
		size += uint64(n)
	}
	return size, numbers, true
}

// addValues puts an empty value log behind the last if that is damaged, because Badger cuts only the last.
func (s *Store) addValues(last string) error {
	var number int
	if _, err := fmt.Sscanf(last, "%d"+valueSuffix, &number); err != nil {
		return fmt.Errorf("%s: %w", last, err)
	}
	return withFile(filepath.Join(s.options.Path, last), func(data []byte) error {
		if len(data) <= logHeader || usedBytes(data) <= logEnd(data) {
			return nil
		}
		s.options.Log.Warn("storage: a value log does not end as it should", "reason", last)
		next := fmt.Sprintf("%06d%s", number+1, valueSuffix)
		return os.WriteFile(filepath.Join(s.options.Path, next), data[:logHeader], 0o600)
	})
}

// loseFile reports bytes of a file that cannot be used and keeps them.
func (s *Store) loseFile(name string, data []byte, what string) {
	l := Loss{What: name + ": " + what}
	if err := s.writeAside(name, data); err != nil {
		l.What = errors.Join(errors.New(l.What), err).Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lostLocked(l)
}
