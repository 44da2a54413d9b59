package crash

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A watch hears of a process's fsyncs and changes of names before they happen, from a seccomp filter that
// the process starts with, and tells a disk. It answers fsyncs itself: what is durable, the disk decides.
type watch struct {
	disk     *disk
	listener int // the filter's file descriptor
	err      error
	ended    chan struct{}
	killed   atomic.Bool // the process has been killed, or is about to be
}

// watchVariable makes the test program start another under a watch.
const watchVariable = "PENSTOCK_CRASH_WATCH"

// errNoWatch says that this system has no seccomp filter that a parent can listen to.
var errNoWatch = errors.New("no seccomp user notification here")

// watchedCalls are the calls that a watch hears of; of openat those that create or write through.
var watchedCalls = []uint32{
	unix.SYS_MSYNC, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC, unix.SYS_SYNCFS, unix.SYS_SYNC_FILE_RANGE,
	unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_UNLINKAT, unix.SYS_MKDIRAT,
}

// startWatched is what the program does that a watch was asked for: it installs the filter, hands its
// descriptor to the parent through descriptor 3 and becomes the program in its arguments.
func startWatched(args []string) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("%w: %w", errNoWatch, err)
	}
	program := filter()
	f := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	listener, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER,
		uintptr(unsafe.Pointer(&f)))
	if errno != 0 {
		return fmt.Errorf("%w: %w", errNoWatch, errno)
	}
	if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(int(listener)), nil, 0); err != nil {
		return err
	}
	unix.CloseOnExec(3)
	return syscall.Exec(args[0], args, os.Environ())
}

// filter is a BPF program over seccomp_data: number at 0, arguments of 8 bytes from 16 on.
func filter() []unix.SockFilter {
	const load, equal, anyBit, give = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K,
		unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	program := []unix.SockFilter{{Code: load, K: 0}}
	for i, nr := range watchedCalls {
		program = append(program, unix.SockFilter{Code: equal, K: nr, Jt: uint8(len(watchedCalls) - i + 3)})
	}
	return append(program,
		unix.SockFilter{Code: equal, K: unix.SYS_OPENAT, Jf: 2},
		unix.SockFilter{Code: load, K: 16 + 2*8},
		unix.SockFilter{Code: anyBit, K: unix.O_CREAT | unix.O_DSYNC, Jt: 1},
		unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: give, K: unix.SECCOMP_RET_USER_NOTIF},
	)
}

// receiveListener gets the filter's descriptor from the process.
func receiveListener(from *os.File) (int, error) {
	b, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	n, controlLen, _, _, err := unix.Recvmsg(int(from.Fd()), b, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, errNoWatch // it ended without a filter
	}
	messages, err := unix.ParseSocketControlMessage(control[:controlLen])
	if err != nil || len(messages) != 1 {
		return 0, fmt.Errorf("%d control messages: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, fmt.Errorf("%d descriptors: %w", len(fds), err)
	}
	return fds[0], nil
}

// A call is seccomp_notif of the kernel.
type call struct {
	id     uint64
	thread uint32
	_      uint32
	number int32
	_      uint32
	_      uint64
	args   [6]uint64
}

// A reply is seccomp_notif_resp.
type reply struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

func newWatch(d *disk, listener int) *watch {
	w := &watch{disk: d, listener: listener, ended: make(chan struct{})}
	go w.run()
	return w
}

// run answers calls until the process has ended.
func (w *watch) run() {
	defer close(w.ended)
	defer unix.Close(w.listener)
	poll := []unix.PollFd{{Fd: int32(w.listener), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(poll, -1); err != nil && !errors.Is(err, unix.EINTR) {
			w.err = err
			return
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			if poll[0].Revents&unix.POLLHUP != 0 {
				return
			}
			continue
		}
		var c call
		if !control(w.listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&c)) {
			continue // the thread was killed meanwhile
		}
		answer := reply{id: c.id}
		if passOn, err := w.hear(&c); err != nil {
			w.err = errors.Join(w.err, err)
			answer.errno = -int32(unix.EIO)
		} else if passOn {
			answer.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
		}
		control(w.listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&answer)) // fails if the thread was killed
	}
}

func control(fd int, request uintptr, argument unsafe.Pointer) bool {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(argument))
	return errno == 0
}

// hear tells the disk of a call. It reports whether the call is to be made: an fsync is not, it has been done.
// An error of a process that is being killed is none: it may be gone, or a zombie.
func (w *watch) hear(c *call) (passOn bool, err error) {
	switch c.number {
	case unix.SYS_MSYNC:
		err = w.syncMapping(c)
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC_FILE_RANGE:
		err = w.syncFile(c)
	case unix.SYS_SYNC, unix.SYS_SYNCFS:
		err = errors.New("sync of everything: not expected of a store")
	case unix.SYS_OPENAT:
		passOn, err = true, w.noteOpen(c)
	default:
		passOn, err = true, w.look()
	}
	if err != nil && w.killed.Load() {
		return passOn, nil
	}
	return passOn, err
}

func (w *watch) look() error {
	return errors.Join(w.disk.look(), w.disk.syncAlways())
}

// noteOpen sees to files that will be created, and to those that are written through.
func (w *watch) noteOpen(c *call) error {
	if err := w.look(); err != nil || c.args[2]&unix.O_DSYNC == 0 {
		return err
	}
	path, err := w.text(c, c.args[1])
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(w.disk.folder, path); err == nil && filepath.IsLocal(rel) {
		w.disk.synced[rel] = true
	}
	return nil
}

// text reads a string of the process.
func (w *watch) text(c *call, at uint64) (string, error) {
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", c.thread))
	if err != nil {
		return "", err
	}
	defer memory.Close()
	b := make([]byte, unix.PathMax)
	n, err := memory.ReadAt(b, int64(at))
	end := bytes.IndexByte(b[:n], 0)
	if end < 0 {
		return "", fmt.Errorf("a path without an end: %w", err)
	}
	return string(b[:end]), nil
}

// syncFile handles fsync and fdatasync of a file or a folder.
func (w *watch) syncFile(c *call) error {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", c.thread, c.args[0]))
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(w.disk.folder, strings.TrimSuffix(path, " (deleted)"))
	if err != nil || !filepath.IsLocal(rel) {
		return nil // not the store's
	}
	if err := w.look(); err != nil {
		return err
	}
	if w.disk.folders[rel] != nil {
		w.disk.syncNames(rel)
		return nil
	}
	var stat unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", c.thread, c.args[0]), &stat); err != nil {
		return err
	}
	return w.disk.sync(inode{uint64(stat.Dev), stat.Ino}, 0, -1)
}

// syncMapping handles msync, which names a range of memory.
func (w *watch) syncMapping(c *call) error {
	if err := w.look(); err != nil {
		return err
	}
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", c.thread))
	if err != nil {
		return err
	}
	defer maps.Close()
	from, to := c.args[0], c.args[0]+c.args[1]
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		m, err := parseMapping(lines.Text())
		if err != nil {
			return err
		}
		if m.to <= from || m.from >= to || m.file.number == 0 {
			continue
		}
		begin, end := max(from, m.from), min(to, m.to)
		if err := w.disk.sync(m.file, int64(begin-m.from+m.offset), int64(end-m.from+m.offset)); err != nil {
			return err
		}
	}
	return lines.Err()
}

// A mapping is a line of /proc/PID/maps.
type mapping struct {
	from, to, offset uint64
	file             inode
}

func parseMapping(line string) (m mapping, err error) {
	fields := strings.Fields(line)
	if len(fields) < 5 {
		return m, fmt.Errorf("mapping %q", line)
	}
	var major, minor uint64
	numbers := strings.FieldsFunc(fields[0]+"-"+fields[2]+"-"+fields[3], func(r rune) bool { return r == '-' || r == ':' })
	for i, to := range []*uint64{&m.from, &m.to, &m.offset, &major, &minor} {
		if *to, err = strconv.ParseUint(numbers[i], 16, 64); err != nil {
			return m, err
		}
	}
	m.file.device = unix.Mkdev(uint32(major), uint32(minor))
	m.file.number, err = strconv.ParseUint(fields[4], 10, 64)
	return m, err
}
