package broker

import (
	"errors"
	"net"
)

// A poller is the system's side of an event loop. It knows sockets by small numbers. None of its methods but wait blocks;
// wait, watchRoom and remove are the loop's goroutine's, the others anybody's.
type poller interface {
	// wait appends what happened to told. If nothing did and block is set it waits for that, or for wake.
	wait(block bool, told []happening) []happening
	// wake ends the wait, or the next one.
	wake()
	// take makes a socket of a connection, which is the poller's from then on. ok is false if it cannot; then nc is
	// untouched.
	take(nc net.Conn) (socket int, ok bool)
	// add begins to tell of a socket. It tells once that there is something to read, until a read has found nothing more.
	add(socket int) error
	// watchRoom begins or ends to tell that a socket takes bytes: at once if it does now, else once it does.
	watchRoom(socket int, watch bool)
	// read and write return errNotNow where they would have to wait. A read of less than b has found nothing more, but
	// perhaps the end.
	read(socket int, b []byte) (n int, err error)
	write(socket int, p parcel) (n int, err error)
	// closeWrite tells the client that no more will come. An error means that nobody can be told.
	closeWrite(socket int) error
	// remove closes a socket. Its number may be another's at once.
	remove(socket int)
	// close ends the poller.
	close()
}

// A happening is what a poller tells of one socket.
type happening struct {
	socket   int
	readable bool
	hungUp   bool // there may be an end behind what can be read
	room     bool
}

// errNotNow is what read and write return instead of waiting.
var errNotNow = errors.New("would block")
