package bridge

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
)

const (
	benchPublishers = 16
	benchWindow     = 500 // of each
	benchPayload    = 64
)

// Messages of QoS 1 from publishers at an edge over its bridge to a hub, both on disk: the time of one, from the first PUBLISH to
// the last PUBACK of the hub.
func BenchmarkEdgeToHub(b *testing.B) {
	for _, version := range []string{"5", "3.1.1"} {
		b.Run(version, func(b *testing.B) { benchEdge(b, version, 1) })
	}
}

func benchEdge(b *testing.B, version string, qos byte) {
	hub := startProcess(b, &process{name: "hub"}, "")
	hub.reachable()
	edge := startProcess(b, &process{name: "edge"}, fmt.Sprintf(`bridges:
  - {name: hub, address: "tcp://%s", version: %q, client_id: edge, topics: [{filter: "load/#", direction: out}]}
`, hub.address, version))
	edge.reachable()
	sink := &wire{address: hub.address, id: "sink"}
	if err := sink.dial(); err != nil {
		b.Fatal(err)
	}
	defer sink.close()
	arrived := make(chan error, 1) // a session that lasts: the hub acknowledges what is on disk
	subscribed := make(chan struct{})
	go func() { arrived <- drain(sink, b.N, func() { close(subscribed) }) }()
	<-subscribed
	begin := time.Now()
	b.ResetTimer()
	pourAll(b, edge.address, b.N, qos)
	taken := time.Since(begin)
	err := <-arrived
	b.StopTimer()
	if err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "msg/s")
	b.ReportMetric(float64(b.N)/taken.Seconds(), "accepted/s")
	b.ReportMetric(edge.cpu(b)/float64(b.N)*1e6, "edge-µs/msg")
	b.ReportMetric(hub.cpu(b)/float64(b.N)*1e6, "hub-µs/msg")
}

// pourAll publishes n messages from all publishers.
func pourAll(t testing.TB, address string, n int, qos byte) {
	t.Helper()
	var busy sync.WaitGroup
	for i := range benchPublishers {
		own := n / benchPublishers
		if i < n%benchPublishers {
			own++
		}
		busy.Go(func() {
			if err := pour(address, i, own, qos); err != nil {
				t.Error(err)
			}
		})
	}
	busy.Wait()
}

// drain is a session at the hub that outlives its connection: what it acknowledges was on disk there.
func drain(w *wire, want int, subscribed func()) error {
	subscribe := append([]byte{0x82, 12, 0, 1, 0, 0, 6}, "load/#\x01"...)
	if _, err := w.conn.Write(subscribe); err != nil {
		return err
	}
	next := map[string]uint64{} // each topic has one publisher, who counts
	r, out := bufio.NewReaderSize(w.conn, 1<<20), bufio.NewWriterSize(w.conn, 64<<10)
	var body, answer []byte
	for got := 0; got < want; {
		head, rest, err := readFrame(w.conn, r, body)
		if err != nil {
			return fmt.Errorf("after %d of %d: %w", got, want, err)
		}
		body = rest
		switch packet.TypeOf(head) {
		case packet.SUBACK:
			subscribed()
			continue
		case packet.PUBLISH:
		default:
			continue
		}
		got++
		at := 2 + int(binary.BigEndian.Uint16(body))
		if name, k := string(body[2:at]), binary.BigEndian.Uint64(body[len(body)-benchPayload:]); k != next[name] {
			return fmt.Errorf("%s: %d where %d is next", name, k, next[name])
		}
		next[string(body[2:at])]++
		answer = packet.AppendAck(answer[:0], packet.PUBACK, packet.V5, packet.Ack{ID: binary.BigEndian.Uint16(body[at:])})
		if _, err := out.Write(answer); err != nil {
			return err
		}
		if r.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// readFrame reads one packet into a buffer that may be used again.
func readFrame(c net.Conn, r *bufio.Reader, buffer []byte) (head byte, body []byte, err error) {
	if r.Buffered() == 0 {
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return 0, nil, err
		}
	}
	if head, err = r.ReadByte(); err != nil {
		return 0, nil, err
	}
	length, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, nil, err
	}
	body = slices.Grow(buffer[:0], int(length))[:length]
	_, err = io.ReadFull(r, body)
	return head, body, err
}

// pour publishes n messages with a window.
func pour(address string, i, n int, qos byte) error {
	w := &wire{address: address, id: fmt.Sprintf("pour-%d", i)}
	if err := w.dial(); err != nil {
		return err
	}
	defer w.close()
	room := make(chan struct{}, benchWindow)
	failed := make(chan error, 1)
	go func() { failed <- countAcks(w.conn, n, room) }()
	o := packet.Outgoing{Topic: fmt.Sprintf("load/%d", i), Payload: make([]byte, benchPayload), QoS: qos}
	out := bufio.NewWriterSize(w.conn, 64<<10)
	var frame []byte
	for k := range n {
		select {
		case room <- struct{}{}:
		default:
			if err := out.Flush(); err != nil {
				return err
			}
			select {
			case room <- struct{}{}:
			case err := <-failed:
				return err
			}
		}
		o.ID = uint16(k%65535) + 1
		binary.BigEndian.PutUint64(o.Payload, uint64(k))
		frame = packet.AppendPublish(frame[:0], packet.V5, &o)
		if _, err := out.Write(frame); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return <-failed
}

func countAcks(c net.Conn, n int, room <-chan struct{}) error {
	r := bufio.NewReaderSize(c, 64<<10)
	var body []byte
	for range n {
		head, rest, err := readFrame(c, r, body)
		if err != nil {
			return err
		}
		body = rest
		if packet.TypeOf(head) != packet.PUBACK || len(body) > 2 && body[2] >= 0x80 {
			return fmt.Errorf("answer to PUBLISH: % x % x", head, body)
		}
		<-room
	}
	return nil
}

// cpu is the processor time of the process in seconds.
func (p *process) cpu(t testing.TB) float64 {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	return processorTime(t, p.cmd.Process.Pid)
}
