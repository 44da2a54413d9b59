package badger

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// roomPeriod is the time between looks at the free space while the store is full or its size is bounded.
	roomPeriod = 200 * time.Millisecond
	// reserveLeft is the part of the reserve without which nothing is written at all: Badger writes through
	// mapped files, where a disk without room ends the process.
	reserveLeft = 4
)

// free is how many bytes the file system has left.
func (s *Store) free() (int64, error) {
	if f := s.options.Faults.Free; f != nil {
		return f()
	}
	return freeBytes(s.options.Path)
}

// lookAtRoom decides whether the store is full.
func (s *Store) lookAtRoom(now time.Time) {
	if now.Sub(s.roomSeen) < roomPeriod { // only the committer touches roomSeen
		return
	}
	s.roomSeen = now
	free, err := s.free()
	if err != nil {
		s.options.Log.Warn("storage: free space is not known", "err", err)
		return
	}
	used := int64(0)
	if s.options.MaxBytes > 0 {
		used = folderBytes(s.options.Path)
	}
	s.setFull(free, used)
}

// Stalled implements storage.Staller.
func (s *Store) Stalled() bool {
	free, err := s.free()
	if err != nil {
		return false // an unknown room is tried
	}
	s.noteFree(free)
	return free < s.options.Reserve/reserveLeft
}

// noteRoom looks whether the disk has become full since somebody looked last: an idle committer does not.
func (s *Store) noteRoom() {
	now, last := time.Now().UnixNano(), s.roomNoted.Load()
	if now-last < int64(roomPeriod) || !s.roomNoted.CompareAndSwap(last, now) {
		return
	}
	if free, err := s.free(); err == nil {
		s.noteFree(free)
	}
}

// noteFree makes the store full if there is too little room. That there is room again the committer finds.
func (s *Store) noteFree(free int64) {
	if free >= s.options.Reserve {
		return
	}
	s.setFull(free, 0)
	select {
	case s.wake <- struct{}{}: // it may be asleep, and is to look again and again now
	default:
	}
}

// setFull changes with some distance between full and not, so that it does not flutter.
func (s *Store) setFull(free, used int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := s.options.MaxBytes
	full := free < s.options.Reserve || limit > 0 && used > limit
	if s.full && !full {
		full = free < s.options.Reserve+s.options.Reserve/4 || limit > 0 && used > limit-limit/8
	}
	if full != s.full {
		s.full = full
		text := "storage: there is room again"
		if full {
			text = "storage: full, new messages are refused"
		}
		why := fmt.Sprintf("%d bytes are free", free)
		if limit > 0 { // else it was not looked at
			why += fmt.Sprintf(", the folder has %d", used)
		}
		s.options.Log.Warn(text, "reason", why)
	}
}

// checkRoom refuses what makes Badger write where not even acknowledgements can be written, opening it for instance: a
// mapped file on a disk without room ends the process, on some file systems when it is only read.
func (s *Store) checkRoom() error {
	free, err := s.free()
	if least := s.options.Reserve / reserveLeft; err == nil && free < least {
		return fmt.Errorf("%w: %d bytes are free, and %d are needed", syscall.ENOSPC, free, least)
	}
	return nil // an unknown room is tried
}

// awaitRoom returns when there is room for a commit. Without any the committer waits: whoever waits for it is not told
// anything, and new writes are refused.
func (s *Store) awaitRoom() error {
	for {
		free, err := s.free()
		if err != nil || free >= s.options.Reserve {
			return nil // an unknown room is tried
		}
		s.setFull(free, 0)
		if free >= s.options.Reserve/reserveLeft {
			return nil
		}
		select {
		case <-time.After(roomPeriod):
		case <-s.stop:
			return fmt.Errorf("write: %w: %d bytes free", syscall.ENOSPC, free)
		}
	}
}

// folderBytes is what the files below a folder take on disk.
func folderBytes(path string) int64 {
	total := int64(0)
	filepath.WalkDir(path, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // it has just gone
		}
		if info, err := d.Info(); err == nil {
			total += fileBytes(info)
		}
		return nil
	})
	return total
}
