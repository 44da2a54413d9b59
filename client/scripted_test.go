package client

import (
	"errors"
	"net"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

// A scripted broker of MQTT 5 does what a test tells it, a packet at a time.
type scripted struct {
	t        *testing.T
	listener net.Listener
	conn     net.Conn
}

func startScripted(t *testing.T) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &scripted{t: t, listener: l}
}

func (s *scripted) endpoint() Endpoint {
	return Endpoint{Scheme: "mqtt", Address: s.listener.Addr().String()}
}

// accept takes a connection and its subscription, if it makes one, and returns the CONNECT.
func (s *scripted) accept(subscribes bool) *packets.Connect {
	s.t.Helper()
	var err error
	if s.conn, err = s.listener.Accept(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.conn.Close() })
	connect, ok := s.read().(*packets.Connect)
	if !ok {
		s.t.Fatal("no CONNECT")
	}
	s.write(&packets.Connack{Properties: &packets.Properties{}})
	if subscribes {
		subscribe, ok := s.read().(*packets.Subscribe)
		if !ok {
			s.t.Fatal("no SUBSCRIBE")
		}
		s.write(&packets.Suback{PacketID: subscribe.PacketID, Reasons: []byte{1}, Properties: &packets.Properties{}})
	}
	return connect
}

// read returns the next packet, nil at the end of the connection. Pings are answered on the way.
func (s *scripted) read() packets.Packet {
	s.t.Helper()
	for {
		p, err := packets.ReadPacket(s.conn)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				s.t.Fatal(err)
			}
			return nil
		}
		if p.Type != packets.PINGREQ {
			return p.Content
		}
		s.write(&packets.Pingresp{})
	}
}

func (s *scripted) write(p packets.Packet) {
	s.t.Helper()
	if _, err := p.WriteTo(s.conn); err != nil {
		s.t.Fatal(err)
	}
}

// publish sends messages with the identifiers.
func (s *scripted) publish(qos byte, ids ...uint16) {
	s.t.Helper()
	for _, id := range ids {
		s.write(&packets.Publish{Topic: "a", QoS: qos, PacketID: id, Payload: []byte{byte(id)}, Properties: &packets.Properties{}})
	}
}

// hangUp ends the connection as a crash does.
func (s *scripted) hangUp() { s.conn.Close() }
