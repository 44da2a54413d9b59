package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/penstockmq/penstock/broker/yield"
	"golang.org/x/sys/unix"
)

// A loop drives all connections from one goroutine.
type loop struct {
	// Fixed when newLoop returns.
	epoll   int
	traffic *traffic
	started time.Time

	conns  []*conn
	events []unix.EpollEvent
	in     []byte        // what one read takes
	out    []byte        // what is written next
	timer  int           // wakes an open loop when a message is due; -1 without
	rest   time.Duration // what passes between two turns at least

	yielded int64 // when yield last did
}

// A conn is the socket of one client.
type conn struct {
	client  *client
	target  netip.AddrPort
	fd      int    // -1 while it has no socket
	partial []byte // the start of an incomplete packet
	unsent  []byte // what the socket did not take yet
	asking  bool   // the loop hears when the socket takes more
}

const (
	readMax    = 256 << 10
	eventsMax  = 512
	openingMax = 64   // connections on their way at once: below the shortest listen queue that is usual
	unreadyMax = 1024 // connections that are not yet what they are for
	// connsPerSource keeps the ports of one source address from running out.
	connsPerSource = 10_000
	timerEvent     = -1 // in place of a connection's number
)

func newLoop(t *traffic, frameMax int) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("bench: epoll: %w", err)
	}
	return &loop{
		epoll: epoll, traffic: t, started: time.Now(),
		events: make([]unix.EpollEvent, eventsMax), in: make([]byte, max(readMax, 2*frameMax)), timer: -1,
	}, nil
}

func resolve(address string) (netip.AddrPort, error) {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("bench: %w", err)
	}
	target := a.AddrPort()
	return netip.AddrPortFrom(target.Addr().Unmap(), target.Port()), nil
}

func (l *loop) add(c *client, target netip.AddrPort) {
	if c.publisher != nil {
		c.publisher.conn = len(l.conns)
	}
	l.conns = append(l.conns, &conn{client: c, target: target, fd: -1})
}

// now is the time since the loop was made, in nanoseconds.
func (l *loop) now() int64 { return int64(time.Since(l.started)) }

// open begins to connect the connection with a number. CONNECT goes out when the socket takes it.
func (l *loop) open(i int) error {
	c := l.conns[i]
	family := unix.AF_INET
	if c.target.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bench: socket: %w", err)
	}
	c.fd, c.partial = fd, nil // so that close closes it whatever fails
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("bench: socket: %w", err)
	}
	if err := bind(fd, c.target, i); err != nil {
		return fmt.Errorf("bench: source address: %w", err)
	}
	if err := unix.Connect(fd, sockaddr(c.target)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("bench: connect to %v: %w", c.target, err)
	}
	c.unsent, c.asking = c.client.connect(nil), true
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT, Fd: int32(i)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("bench: epoll: %w", err)
	}
	return nil
}

// bind gives connections to 127.0.0.0/8 source addresses from it, because one address has few ports.
func bind(fd int, target netip.AddrPort, i int) error {
	if !target.Addr().Is4() || !target.Addr().IsLoopback() || i < connsPerSource {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	n := 1 + i/connsPerSource
	return unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, byte(n >> 8), byte(n)}})
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// startTimer has the loop ring when messages are due.
func (l *loop) startTimer() error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("bench: timer: %w", err)
	}
	l.timer = fd
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: timerEvent}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("bench: timer: %w", err)
	}
	return l.ring()
}

// ring wakes the publishers that have a message due, and sets the timer for the next one.
func (l *loop) ring() error {
	now := l.now()
	after := unix.NsecToTimespec(max(l.traffic.wakeDue(now)-now, 1))
	if err := unix.TimerfdSettime(l.timer, 0, &unix.ItimerSpec{Value: after}, nil); err != nil {
		return fmt.Errorf("bench: timer: %w", err)
	}
	return nil
}

// turn waits for sockets, at most for the timeout, serves those that are ready and then fills windows.
func (l *loop) turn(ctx context.Context, timeout time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.rest > 0 {
		pause := unix.NsecToTimespec(int64(l.rest))
		unix.Nanosleep(&pause, nil) // woken early by a signal, it only reads a smaller batch
	}
	if len(l.traffic.eager) > 0 {
		timeout = 0 // somebody has something to send, whatever comes
	}
	l.yield()
	n, err := unix.EpollWait(l.epoll, l.events, int(timeout.Milliseconds()))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("bench: epoll: %w", err)
	}
	for i := range max(n, 0) {
		if err := l.serve(&l.events[i]); err != nil {
			return err
		}
	}
	if t := l.traffic; t.silence != nil {
		t.silence.look(l.now(), t.delivered, t.settled < t.sent)
	}
	return l.fill()
}

// yield keeps the processor for the loop, which parks nowhere: a thread that looks for its system calls would run on the processors that
// the broker needs.
func (l *loop) yield() {
	if now := l.now(); now-l.yielded >= int64(yield.Every) {
		l.yielded = now
		yield.Processor()
	}
}

func (l *loop) serve(e *unix.EpollEvent) error {
	if e.Fd == timerEvent {
		return l.ring()
	}
	c := l.conns[e.Fd]
	if e.Events&unix.EPOLLOUT != 0 {
		if err := l.flush(int(e.Fd), c); err != nil {
			return err
		}
	}
	if e.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		return l.read(int(e.Fd), c)
	}
	return nil
}

func (l *loop) read(i int, c *conn) error {
	at := copy(l.in, c.partial)
	n, err := unix.Read(c.fd, l.in[at:])
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return c.client.fail("read: %w", err)
	case n == 0:
		return c.client.fail("broker closed the connection")
	}
	before := l.traffic.delivered
	l.traffic.now = l.now()
	rest, out, err := c.client.feed(l.in[:at+n], l.out[:0])
	if l.traffic.delivered > before {
		l.traffic.reads++
	}
	l.out = out
	if err != nil {
		return err
	}
	if len(rest) == len(l.in) {
		return c.client.fail("a packet is larger than %d bytes", len(l.in))
	}
	c.partial = append(c.partial[:0], rest...)
	return l.write(i, c, out)
}

// write writes frames, and keeps what the socket does not take.
func (l *loop) write(i int, c *conn, frames []byte) error {
	if len(c.unsent) > 0 {
		c.unsent = append(c.unsent, frames...)
		return nil
	}
	if len(frames) == 0 {
		return nil
	}
	n, err := unix.Write(c.fd, frames)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		return c.client.fail("write: %w", err)
	}
	if n = max(n, 0); n < len(frames) {
		c.unsent = append(c.unsent, frames[n:]...)
		return l.ask(i, c, true)
	}
	return nil
}

// flush writes what the socket did not take before.
func (l *loop) flush(i int, c *conn) error {
	n, err := unix.Write(c.fd, c.unsent)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		return c.client.fail("write: %w", err)
	}
	if n = max(n, 0); n < len(c.unsent) {
		c.unsent = c.unsent[n:]
		return nil
	}
	c.unsent = nil
	if c.client.publisher != nil {
		l.traffic.wake(c.client.publisher)
	}
	return l.ask(i, c, false)
}

// ask has the loop hear, or not, when the socket takes more.
func (l *loop) ask(i int, c *conn, asking bool) error {
	if c.asking == asking {
		return nil
	}
	c.asking = asking
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
	if asking {
		event.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, c.fd, &event); err != nil {
		return fmt.Errorf("bench: epoll: %w", err)
	}
	return nil
}

// fill sends what publishers may send, once for all that arrived in this turn.
func (l *loop) fill() error {
	t := l.traffic
	t.now = l.now()
	now := len(t.eager) // those behind are for the next turn
	for _, p := range t.eager[:now] {
		p.queued = false
		c := l.conns[p.conn]
		if len(c.unsent) > 0 {
			continue // flush wakes it again
		}
		l.out = t.fill(p, l.out[:0])
		if len(l.out) > 0 {
			t.writes++
		}
		if err := l.write(p.conn, c, l.out); err != nil {
			return err
		}
	}
	t.eager = append(t.eager[:0], t.eager[now:]...)
	return nil
}

// hangUp ends connections with DISCONNECT, and says what the next ones are for. It must not be called while the loop turns.
func (l *loop) hangUp(conns []*conn, next purpose) {
	for _, c := range conns {
		c.client.leave(next)
		if c.fd < 0 {
			continue
		}
		if len(c.unsent) == 0 {
			unix.Write(c.fd, appendDisconnect(nil)) // a socket that does not take it is closed all the same
		}
		unix.Close(c.fd)
		c.fd, c.unsent, c.asking = -1, nil, false
	}
}

// close says goodbye on every connection and releases everything.
func (l *loop) close() {
	l.hangUp(l.conns, forget)
	if l.timer >= 0 {
		unix.Close(l.timer)
	}
	unix.Close(l.epoll)
}
