package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// A wire is a client of MQTT 5 that keeps its side of the exchanges by itself: it goes on after its broker was killed exactly
// where it was.
type wire struct {
	address string
	id      string
	dialer  dialer // nil dials from here
	conn    net.Conn
}

// A dialer connects from somewhere.
type dialer func(address string) (net.Conn, error)

func dialHere(address string) (net.Conn, error) { return net.DialTimeout("tcp", address, wireTimeout) }

const wireTimeout = 5 * time.Second

// open connects until it succeeds or ctx ends.
func (w *wire) open(ctx context.Context) error {
	for ctx.Err() == nil {
		if w.dial() == nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return ctx.Err()
}

func (w *wire) dial() error {
	w.close()
	dial := w.dialer
	if dial == nil {
		dial = dialHere
	}
	conn, err := dial(w.address)
	if err != nil {
		return err
	}
	w.conn = conn
	never := uint32(0xFFFFFFFF)
	hello := packets.NewControlPacket(packets.CONNECT)
	c := hello.Content.(*packets.Connect)
	c.ClientID, c.Properties.SessionExpiryInterval = w.id, &never
	if _, err := hello.WriteTo(conn); err != nil {
		return err
	}
	answer, err := w.read()
	if err != nil {
		return err
	}
	if a, ok := answer.Content.(*packets.Connack); !ok || a.ReasonCode != 0 {
		return fmt.Errorf("answer to CONNECT: %v", answer)
	}
	return nil
}

func (w *wire) read() (*packets.ControlPacket, error) {
	if err := w.conn.SetReadDeadline(time.Now().Add(wireTimeout)); err != nil {
		return nil, err
	}
	return packets.ReadPacket(w.conn)
}

func (w *wire) close() {
	if w.conn != nil {
		w.conn.Close()
	}
}

// publish publishes one message and returns when the broker has acknowledged it, however often it was killed meanwhile.
func (w *wire) publish(ctx context.Context, name string, id uint16, text string, qos byte) error {
	p := &packets.Publish{Topic: name, PacketID: id, QoS: qos, Payload: []byte(text), Properties: &packets.Properties{}}
	release := false
	for {
		err := w.exchange(p, &release)
		if err == nil {
			return nil
		}
		if errors.Is(err, errRefused) {
			return err
		}
		if err := w.open(ctx); err != nil {
			return err
		}
		p.Duplicate = true
	}
}

var errRefused = errors.New("refused")

// exchange does what is left of one exchange.
func (w *wire) exchange(p *packets.Publish, release *bool) error {
	if w.conn == nil {
		return net.ErrClosed
	}
	if !*release {
		if _, err := p.WriteTo(w.conn); err != nil {
			return err
		}
		answer, err := w.read()
		if err != nil {
			return err
		}
		switch a := answer.Content.(type) {
		case *packets.Puback:
			if a.ReasonCode >= 0x80 {
				return fmt.Errorf("%w: 0x%02x", errRefused, a.ReasonCode)
			}
			return nil
		case *packets.Pubrec:
			if a.ReasonCode >= 0x80 {
				return fmt.Errorf("%w: 0x%02x", errRefused, a.ReasonCode)
			}
			*release = true
		default:
			return fmt.Errorf("answer to PUBLISH: %v", answer)
		}
	}
	if _, err := (&packets.Pubrel{PacketID: p.PacketID, Properties: &packets.Properties{}}).WriteTo(w.conn); err != nil {
		return err
	}
	_, err := w.read()
	return err
}

// A collector is a subscriber with a session that outlives its broker, and counts each message of QoS 2 once.
type collector struct {
	wire
	filter string

	mu   sync.Mutex          // guards what follows
	got  map[string][]string // by topic, in order of arrival
	open map[uint16]bool     // identifiers that were not released
}

func newCollector(address, id, filter string) *collector {
	return &collector{wire: wire{address: address, id: id}, filter: filter, got: map[string][]string{}, open: map[uint16]bool{}}
}

// run collects until ctx ends. subscribed is closed once the subscription holds.
func (c *collector) run(ctx context.Context, subscribed chan<- struct{}) {
	defer c.close()
	first := true
	for c.wire.open(ctx) == nil {
		s := packets.NewControlPacket(packets.SUBSCRIBE)
		body := s.Content.(*packets.Subscribe)
		body.PacketID = 1
		body.Subscriptions = []packets.SubOptions{{Topic: c.filter, QoS: 2}}
		if _, err := s.WriteTo(c.conn); err != nil {
			continue
		}
		stop := context.AfterFunc(ctx, func() { c.conn.Close() })
		for {
			p, err := c.read()
			if err != nil {
				break
			}
			if p.Type == packets.SUBACK && first {
				first = false
				close(subscribed)
			}
			if c.take(p) != nil {
				break
			}
		}
		stop()
	}
}

func (c *collector) take(p *packets.ControlPacket) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	switch a := p.Content.(type) {
	case *packets.Publish:
		if a.QoS < 2 || !c.open[a.PacketID] {
			c.got[a.Topic] = append(c.got[a.Topic], string(a.Payload))
		}
		switch a.QoS {
		case 1:
			_, err = (&packets.Puback{PacketID: a.PacketID, Properties: &packets.Properties{}}).WriteTo(c.conn)
		case 2:
			c.open[a.PacketID] = true
			_, err = (&packets.Pubrec{PacketID: a.PacketID, Properties: &packets.Properties{}}).WriteTo(c.conn)
		}
	case *packets.Pubrel:
		delete(c.open, a.PacketID)
		_, err = (&packets.Pubcomp{PacketID: a.PacketID, Properties: &packets.Properties{}}).WriteTo(c.conn)
	}
	return err
}

// last is the newest message of a topic.
func (c *collector) last(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if all := c.got[name]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}
