package broker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pollMax is how many sockets one wait tells of.
const pollMax = 256

// An epoll is the poller of Linux. The runtime waits for it as for any file, so that a loop that waits holds no thread
// up, and no processor.
type epoll struct {
	fd    int
	file  *os.File // of fd
	ready syscall.RawConn
	look  func(fd uintptr) bool // for ready: find
	peek  func(fd uintptr)

	events [pollMax]unix.EpollEvent // only wait touches these
	found  int
}

func newEpoll() (poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or NewFile takes it for one that cannot be waited for
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	e := &epoll{fd: fd, file: os.NewFile(uintptr(fd), "epoll")}
	e.look = e.find
	e.peek = func(fd uintptr) { e.find(fd) }
	e.ready, err = e.file.SyscallConn()
	if err == nil {
		err = e.file.SetReadDeadline(time.Time{}) // fails where the runtime cannot wait
	}
	if err != nil {
		e.file.Close()
		return nil, err
	}
	return e, nil
}

// wait implements poller.
func (e *epoll) wait(block bool, told []happening) []happening {
	e.found = 0
	if !block {
		e.ready.Control(e.peek)
	} else if err := e.ready.Read(e.look); errors.Is(err, os.ErrDeadlineExceeded) { // wake did that
		e.file.SetReadDeadline(time.Time{})
	}
	for _, event := range e.events[:e.found] {
		told = append(told, happening{
			socket:   int(event.Fd),
			readable: event.Events&^unix.EPOLLOUT != 0,
			hungUp:   event.Events&^(unix.EPOLLIN|unix.EPOLLOUT) != 0,
			room:     event.Events&^(unix.EPOLLIN|unix.EPOLLRDHUP) != 0,
		})
	}
	return told
}

// find reports whether there are events.
func (e *epoll) find(fd uintptr) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&e.events[0])), pollMax, 0, 0, 0)
	if errno != 0 && errno != unix.EINTR {
		panic(fmt.Sprintf("broker: epoll_pwait: %v", errno)) // only a wrong argument fails
	}
	if errno == 0 {
		e.found = int(n)
	}
	return e.found > 0
}

// wake implements poller.
func (e *epoll) wake() { e.file.SetReadDeadline(time.Unix(1, 0)) }

// take implements poller. It takes the descriptor out of the connection, and closes the connection: what the runtime
// keeps for it costs as much memory as all else.
func (e *epoll) take(nc net.Conn) (socket int, ok bool) {
	var err error
	controlErr := rawConn(nc).Control(func(original uintptr) {
		socket, err = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
	})
	if controlErr != nil || err != nil {
		return 0, false
	}
	nc.Close() // the copy stays open, and does not block either
	return socket, true
}

// isSocket reports whether an epoll can wait for nc.
func isSocket(nc net.Conn) bool { return rawConn(nc) != nil }

// add implements poller.
func (e *epoll) add(socket int) error { return e.control(unix.EPOLL_CTL_ADD, socket, 0) }

// watchRoom implements poller.
func (e *epoll) watchRoom(socket int, watch bool) {
	var events uint32
	if watch {
		events = unix.EPOLLOUT
	}
	e.control(unix.EPOLL_CTL_MOD, socket, events) // fails only where add did, and then the connection ends
}

// control says what to tell of a socket: each event once, until it is read or written to the end.
func (e *epoll) control(operation, socket int, events uint32) error {
	event := unix.EpollEvent{Events: events | unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(socket)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(e.fd, operation, socket, &event))
}

// read implements poller. It does not tell the scheduler, which would have to be told twice for what takes less time
// than that.
func (e *epoll) read(socket int, b []byte) (n int, err error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(socket), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if errno != unix.EINTR {
			return ioResult(n, errno)
		}
	}
}

func ioResult(n uintptr, errno syscall.Errno) (int, error) {
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN:
		return 0, errNotNow
	}
	return 0, errno
}

// writevMax is how many chunks one system call takes at most.
const writevMax = 512

// write implements poller.
func (e *epoll) write(socket int, p parcel) (n int, err error) {
	if len(p.chunks) > 0 {
		return writeChunks(socket, p)
	}
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(socket), uintptr(unsafe.Pointer(&p.rest[0])), uintptr(len(p.rest)))
		if errno != unix.EINTR {
			return ioResult(n, errno)
		}
	}
}

func writeChunks(socket int, p parcel) (n int, err error) {
	for {
		n, err = unix.Writev(socket, p.chunks[:min(len(p.chunks), writevMax)])
		switch err {
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, errNotNow
		default:
			return max(n, 0), err
		}
	}
}

// closeWrite implements poller.
func (e *epoll) closeWrite(socket int) error { return unix.Shutdown(socket, unix.SHUT_WR) }

// remove implements poller.
func (e *epoll) remove(socket int) {
	e.control(unix.EPOLL_CTL_DEL, socket, 0) // fails only if add did
	unix.Close(socket)
}

// close implements poller.
func (e *epoll) close() { e.file.Close() }
