//go:build unix

package broker

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// A rawSocket reads and writes a socket without blocking, through the runtime's poller. One goroutine reads;
// one at a time writes, as conn.writing says.
type rawSocket struct {
	rc syscall.RawConn

	// Only the reader touches these.
	buf     *[]byte
	n       int
	readErr error
	tryRead func(fd uintptr) bool

	// Only who writes touches these.
	out      parcel
	wrote    int
	writeErr error
	tryOut   func(fd uintptr) bool
}

// newRawSocket returns nil if nc is not a bare TCP or Unix socket.
func newRawSocket(nc net.Conn) *rawSocket {
	rc := rawConn(nc)
	if rc == nil {
		return nil
	}
	s := &rawSocket{rc: rc}
	s.tryRead, s.tryOut = s.readFD, s.writeFD
	return s
}

// rawConn returns nil if nc is not a bare TCP or Unix socket.
func rawConn(nc net.Conn) syscall.RawConn {
	var rc syscall.RawConn
	var err error
	switch s := nc.(type) {
	case *net.TCPConn:
		rc, err = s.SyscallConn()
	case *net.UnixConn:
		rc, err = s.SyscallConn()
	default:
		return nil
	}
	if err != nil {
		return nil
	}
	return rc
}

// read waits until bytes are there and returns them in a buffer from readBuffers that the caller gives back.
// The buffer is taken only then: a waiting connection holds none.
func (s *rawSocket) read() (buf *[]byte, n int, err error) {
	s.buf, s.n, s.readErr = nil, 0, nil
	if err := s.rc.Read(s.tryRead); err != nil {
		return nil, 0, err
	}
	buf, s.buf = s.buf, nil
	return buf, s.n, s.readErr
}

func (s *rawSocket) readFD(fd uintptr) bool {
	buf := readBuffers.Get().(*[]byte)
	for {
		n, err := syscall.Read(int(fd), *buf)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			readBuffers.Put(buf)
			return false
		case err == nil && n == 0:
			err = io.EOF
		}
		s.buf, s.n, s.readErr = buf, max(n, 0), err
		return true
	}
}

// write writes as much of p as the socket takes now.
func (s *rawSocket) write(p parcel) (n int, err error) {
	s.out, s.wrote, s.writeErr = p, 0, nil
	err = s.rc.Write(s.tryOut)
	s.out = parcel{}
	if err == nil {
		err = s.writeErr
	}
	return s.wrote, err
}

func (s *rawSocket) writeFD(fd uintptr) bool {
	for {
		var n int
		var err error
		if len(s.out.chunks) > 0 {
			n, err = unix.Writev(int(fd), s.out.chunks[:min(len(s.out.chunks), 512)])
		} else {
			n, err = syscall.Write(int(fd), s.out.rest)
		}
		switch err {
		case nil:
			s.wrote = n
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
		default:
			s.writeErr = err
		}
		return true
	}
}
