package broker

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// readNow reads from a socket that does not block. It does not tell the scheduler, which would
// have to be told twice for what takes less time than that.
func readNow(fd int, b []byte) (n int, err error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// writevMax is how many chunks one system call takes at most.
const writevMax = 512

// writeNow writes from the front of a parcel that is not empty to a socket that does not block.
func writeNow(fd int, p *parcel) (n int, err error) {
	if len(p.chunks) > 0 {
		for {
			n, err = unix.Writev(fd, p.chunks[:min(len(p.chunks), writevMax)])
			if err != unix.EINTR {
				return max(n, 0), err
			}
		}
	}
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p.rest[0])), uintptr(len(p.rest)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// epollNow returns the events that there are, without waiting.
func epollNow(epoll int, events []unix.EpollEvent) (n int, err error) {
	found, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(found), nil
}
