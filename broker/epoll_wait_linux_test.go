package broker

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newWait is a wait with one end of a connection in its epoll, and writes to the other.
func newWait(t *testing.T, loops int) (w *epollWait, socket int, write func()) {
	t.Helper()
	w, err := newEpollWait(loops)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	if err := epollControl(w.fd, unix.EPOLL_CTL_ADD, pair[0], unix.EPOLLIN|unix.EPOLLET); err != nil {
		t.Fatal(err)
	}
	return w, pair[0], func() {
		if _, err := unix.Write(pair[1], []byte{1}); err != nil {
			t.Error(err)
		}
	}
}

// change has w block, or park.
func (w *epollWait) change(t *testing.T, blocks bool) {
	t.Helper()
	d := meanMax
	if blocks {
		d = 0
	}
	for range 10 * meanOf {
		w.waited(d)
	}
	if w.blocks.Load() != blocks {
		t.Fatalf("after waits of %v it blocks: %v", d, w.blocks.Load())
	}
}

// happens waits until w tells of socket.
func (w *epollWait) happens(t *testing.T, socket int, f func()) {
	t.Helper()
	told := make(chan []unix.EpollEvent)
	go func() { told <- w.wait(true) }()
	if f != nil {
		runtime.Gosched() // it sleeps already, or not yet: either must do
		f()
	}
	select {
	case events := <-told:
		if socket == 0 {
			for _, e := range events {
				if int(e.Fd) != w.bellFD {
					t.Errorf("an event of %d, which has none", e.Fd)
				}
			}
		} else if len(events) != 1 || int(events[0].Fd) != socket {
			t.Errorf("%d events (%v), want one of %d", len(events), events, socket)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still waits")
	}
}

// Sockets and wake end a wait, whichever way it is waited, and what came before it and before a change of the way.
func TestEpollWaitsEitherWay(t *testing.T) {
	for _, blocks := range []bool{false, true} {
		w, socket, write := newWait(t, 0)
		w.change(t, blocks)
		w.happens(t, socket, write)
		w.happens(t, 0, w.wake)
		write()
		w.happens(t, socket, nil)
		w.wake()
		w.happens(t, 0, nil)
		write()
		w.change(t, !blocks)
		w.happens(t, socket, nil)
		w.happens(t, socket, write)
		w.happens(t, 0, w.wake)
		if events := w.wait(false); len(events) != 0 {
			t.Errorf("%d events of nobody", len(events))
		}
		write()
		if events := w.wait(false); len(events) != 1 || int(events[0].Fd) != socket {
			t.Errorf("%v without waiting, want one event of %d", events, socket)
		}
	}
}

// No call of a loop that is asleep is lost, however often the way to wait changes.
func TestNoWakeIsLostBetweenTheWays(t *testing.T) {
	w, _, _ := newWait(t, 0)
	const calls = 3000
	var (
		mu     sync.Mutex
		asleep bool
		called bool
	)
	heard := make(chan struct{})
	go func() { // as a loop does
		for rounds, n := 0, 0; n < calls; rounds++ {
			mu.Lock()
			asleep = !called
			sleeps := asleep
			mu.Unlock()
			w.wait(sleeps)
			for range 4 * meanOf {
				w.waited(meanMax * time.Duration(rounds/3%2))
			}
			mu.Lock()
			asleep = false
			was := called
			called = false
			mu.Unlock()
			if was {
				n++
				heard <- struct{}{}
			}
		}
	}()
	for i := range calls {
		mu.Lock()
		called = true
		wake := asleep
		asleep = false
		mu.Unlock()
		if wake {
			w.wake()
		}
		select {
		case <-heard:
		case <-time.After(10 * time.Second):
			t.Fatalf("call %d was not heard", i)
		}
	}
}

// A wake that comes too late, when the loop has ended, writes to nobody who got the number of a descriptor since.
func TestWakeAfterTheEndIsNobodys(t *testing.T) {
	w, _, _ := newWait(t, 0)
	w.change(t, true)
	w.close()
	var later []int
	for range 16 {
		fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		later = append(later, fd)
	}
	w.wake()
	for _, fd := range later {
		if _, err := unix.Read(fd, make([]byte, 8)); err != unix.EAGAIN {
			t.Errorf("descriptor %d was written to (%v)", fd, err)
		}
	}
}

// Short waits have it block, longer ones park again, and one alone changes nothing.
func TestEpollWaitChoosesItsWay(t *testing.T) {
	w, _, _ := newWait(t, 0)
	if w.blocks.Load() {
		t.Error("it blocks before anything has come")
	}
	w.change(t, true)
	w.waited(time.Hour)
	if !w.blocks.Load() {
		t.Error("it parks after one long wait")
	}
	w.change(t, false)
	w.waited(0)
	if w.blocks.Load() {
		t.Error("it blocks after one short wait")
	}
	for range 10 * meanOf {
		w.waited((blockBelow + parkAbove) / 2)
	}
	w.change(t, true)
	for range 10 * meanOf {
		w.waited((blockBelow + parkAbove) / 2)
	}
	if !w.blocks.Load() {
		t.Error("it parks between the bounds")
	}
}

// Loops never block with every processor of the scheduler's.
func TestSomebodyIsLeftToRun(t *testing.T) {
	w, _, _ := newWait(t, runtime.GOMAXPROCS(0))
	for range 10 * meanOf {
		w.waited(0)
	}
	if w.blocks.Load() {
		t.Error("it blocks")
	}
}
