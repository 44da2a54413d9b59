package crash

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/broker/packet"
)

// What a link ends with.
var (
	errMalformed = errors.New("malformed packet")
	errLost      = errors.New("connection lost")
	errPatience  = errors.New("no answer in time")
)

// patience bounds every wait for a broker that runs. It is generous: a machine may be busy.
const patience = 60 * time.Second

// A link is one connection of a client. Its reader puts packets into a channel until it ends.
type link struct {
	// Fixed when dial returns.
	nc      net.Conn
	version packet.Version
	packets chan packets.Packet // closed at the end
	quit    chan struct{}
	reader  sync.WaitGroup

	once      sync.Once
	malformed error // why the reader ended, if the broker is to blame; read it after packets is closed
}

// packetsMax is how many packets a link takes in before its client looks at them.
const packetsMax = 512

func dial(address string, v packet.Version) (*link, error) {
	nc, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	l := &link{nc: nc, version: v, packets: make(chan packets.Packet, packetsMax), quit: make(chan struct{})}
	l.reader.Go(l.read)
	return l, nil
}

func (l *link) read() {
	defer close(l.packets)
	r := bufio.NewReader(l.nc)
	for {
		p, err := readPacket(r, r, l.version)
		if err != nil {
			if errors.Is(err, errMalformed) {
				l.malformed = err
			}
			return
		}
		select {
		case l.packets <- p:
		case <-l.quit:
			return
		}
	}
}

func (l *link) write(b []byte) error {
	if err := l.nc.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := l.nc.Write(b)
	return err
}

// next waits for one packet.
func (l *link) next() (packets.Packet, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case p, ok := <-l.packets:
		if !ok {
			return p, errLost
		}
		return p, nil
	case <-timer.C:
		return packets.Packet{}, errPatience
	}
}

// awaitEnd reads until the broker has closed the connection. It reports whether it did.
func (l *link) awaitEnd() bool {
	for {
		switch _, err := l.next(); {
		case errors.Is(err, errLost):
			return true
		case err != nil:
			return false
		}
	}
}

// close ends the connection without a word. Twice is harmless.
func (l *link) close() {
	l.once.Do(func() {
		_ = l.nc.Close() // a connection that is broken already is closed as well
		close(l.quit)
		l.reader.Wait()
	})
}
