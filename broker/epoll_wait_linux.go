package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/penstockmq/penstock/broker/yield"
	"golang.org/x/sys/unix"
)

// An epollWait is how a loop's goroutine waits for its epoll. Which of two ways is better is a matter of how soon something comes:
//
// It parks, as for any file, while the runtime waits. That holds no thread up and no processor, and is the cheapest for a loop
// that is woken now and then. But the kernel has one epoll wake another then, and knows no longer that the one who wrote is
// about to sleep: the thread is more often put on an idle processor, which has to be woken as well.
//
// Or it blocks in the kernel, as the C brokers do. Of a system call that takes long the runtime takes the processor away, and
// looks for such calls every 20 µs and then less and less often: a message every 20 ms would cost ten times as much.
type epollWait struct {
	fd     int      // of the epoll
	file   *os.File // of fd, to close it
	loops  int      // of this broker
	bell   *os.File // an eventfd in the epoll, edge-triggered: rung to end the wait of a goroutine that blocks
	bellFD int      // of bell

	outer  int      // an epoll of fd alone, which the runtime waits for; of nothing while the goroutine blocks
	parked *os.File // of outer
	ready  syscall.RawConn
	look   func(uintptr) bool // for ready

	events [pollMax]unix.EpollEvent
	found  int // of events

	blocks  atomic.Bool   // rather than parks; only the loop's goroutine stores it, before it looks whom it was called for
	mean    time.Duration // of the last waits
	yielded time.Time     // when the scheduler last ran
}

const (
	// pollMax is how many sockets one wait tells of.
	pollMax = 256

	// The goroutine begins to block when waits are shorter than blockBelow on average, and parks again when they are longer
	// than parkAbove. A single one counts as meanMax at most, and for 1/meanOf of the average.
	blockBelow, parkAbove = 250 * time.Microsecond, time.Millisecond
	meanMax               = 10 * time.Millisecond
	meanOf                = 16
)

func newEpollWait(loops int) (*epollWait, error) {
	w := &epollWait{loops: loops, mean: meanMax}
	if err := w.open(); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// open makes the descriptors. The runtime leaves alone those that may block, and waits for the one that may not.
func (w *epollWait) open() (err error) {
	if w.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	w.file = os.NewFile(uintptr(w.fd), "epoll")
	if w.bellFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	w.bell = os.NewFile(uintptr(w.bellFD), "eventfd")
	if err = epollControl(w.fd, unix.EPOLL_CTL_ADD, w.bellFD, unix.EPOLLIN|unix.EPOLLET); err != nil {
		return err
	}
	if w.outer, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err = unix.SetNonblock(w.outer, true); err != nil { // or NewFile takes it for one that cannot be waited for
		unix.Close(w.outer)
		return os.NewSyscallError("fcntl", err)
	}
	w.parked = os.NewFile(uintptr(w.outer), "epoll")
	if err = epollControl(w.outer, unix.EPOLL_CTL_ADD, w.fd, unix.EPOLLIN); err != nil {
		return err
	}
	w.look = func(uintptr) bool { return w.find() }
	if w.ready, err = w.parked.SyscallConn(); err != nil {
		return err
	}
	return w.parked.SetReadDeadline(time.Time{}) // fails where the runtime cannot wait
}

// wait finds events. If there are none and block is set it waits for one, or for wake.
func (w *epollWait) wait(block bool) []unix.EpollEvent {
	w.found = 0
	if !block {
		w.find()
		return w.events[:w.found]
	}
	began := time.Now()
	if w.blocks.Load() {
		w.block(began)
	} else {
		w.park()
	}
	w.waited(time.Since(began))
	return w.events[:w.found]
}

// park waits through the runtime.
func (w *epollWait) park() {
	if err := w.ready.Read(w.look); errors.Is(err, os.ErrDeadlineExceeded) { // wake did that
		w.parked.SetReadDeadline(time.Time{})
	}
}

// block waits in the kernel. It does not look first whether it has to: that would be one system call more.
func (w *epollWait) block(now time.Time) {
	if now.Sub(w.yielded) >= yield.Every {
		w.yielded = now
		yield.Processor()
	}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(w.fd), uintptr(unsafe.Pointer(&w.events[0])), pollMax, ^uintptr(0), 0, 0)
	w.take(n, errno) // a signal ends the wait as well: the loop comes again
}

// find reports whether there are events. It does not tell the scheduler: it does not block.
func (w *epollWait) find() bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(w.fd), uintptr(unsafe.Pointer(&w.events[0])), pollMax, 0, 0, 0)
	w.take(n, errno)
	return w.found > 0
}

// take takes the result of epoll_pwait.
func (w *epollWait) take(n uintptr, errno syscall.Errno) {
	if errno != 0 && errno != unix.EINTR {
		panic(fmt.Sprintf("broker: epoll_pwait: %v", errno)) // only a wrong argument fails
	}
	if errno == 0 {
		w.found = int(n)
	}
}

// waited chooses how to wait the next time. While the loops could block with every processor of the scheduler's, each of them
// parks: nobody else would run, and nobody would ask the runtime's poller for other connections, until it is noticed.
func (w *epollWait) waited(d time.Duration) {
	w.mean += (min(d, meanMax) - w.mean) / meanOf
	switch blocks := w.blocks.Load(); {
	case !blocks && w.mean < blockBelow && w.loops < runtime.GOMAXPROCS(0):
		w.tellOuter(0)
		w.blocks.Store(true)
	case blocks && w.mean > parkAbove:
		w.tellOuter(unix.EPOLLIN)
		w.blocks.Store(false)
	}
}

// tellOuter says which events of the epoll the runtime is woken for. Descriptors never change, so this cannot fail.
func (w *epollWait) tellOuter(events uint32) {
	if err := epollControl(w.outer, unix.EPOLL_CTL_MOD, w.fd, events); err != nil {
		panic("broker: " + err.Error())
	}
}

// one is what rings the bell. Each write is another edge; the sum, which nobody reads, takes 2^64 of them.
var one = binary.NativeEndian.AppendUint64(nil, 1)

// wake ends the wait of a loop that is asleep. If the loop has just changed from one way to the other, it has not looked for
// its calls yet: what is done here for the old way then ends a later wait for nothing. After close it does nothing.
func (w *epollWait) wake() {
	if w.blocks.Load() {
		w.bell.Write(one)
		return
	}
	w.parked.SetReadDeadline(time.Unix(1, 0))
}

// close must follow the last wait. It may be called again.
func (w *epollWait) close() {
	for _, f := range []*os.File{w.parked, w.bell, w.file} {
		if f != nil {
			f.Close()
		}
	}
}

func epollControl(epoll, operation, fd int, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(epoll, operation, fd, &event))
}
