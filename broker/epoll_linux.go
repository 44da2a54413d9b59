package broker

import (
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An epoll is the poller of Linux.
type epoll struct{ *epollWait }

func newEpoll(loops int) (poller, error) {
	w, err := newEpollWait(loops)
	if err != nil {
		return nil, err
	}
	return &epoll{w}, nil
}

// wait implements poller.
func (e *epoll) wait(block bool, told []happening) []happening {
	for _, event := range e.epollWait.wait(block) {
		if int(event.Fd) == e.bellFD {
			continue
		}
		told = append(told, happening{
			socket:   int(event.Fd),
			readable: event.Events&^unix.EPOLLOUT != 0,
			hungUp:   event.Events&^(unix.EPOLLIN|unix.EPOLLOUT) != 0,
			room:     event.Events&^(unix.EPOLLIN|unix.EPOLLRDHUP) != 0,
		})
	}
	return told
}

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
	return epollControl(e.fd, operation, socket, events|unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLET)
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
