package listener

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/penstockmq/penstock/configs"
)

// A packet may be cut anywhere, across fragments of a message, messages and empty frames [MQTT5-6.0.0-2] [MQTT311-6.0.0-2].
func TestFramesCutAtEveryByte(t *testing.T) {
	r := start(t, configs.Listener{Type: "ws"}, Options{})
	ws, h := r.upgraded(t)
	packet := []byte("\x30\x0b\x00\x04room20.5 C")
	var want []byte
	for cut := range len(packet) + 1 {
		for _, piece := range [][]byte{packet[:cut], nil, packet[cut:]} {
			if err := ws.WriteMessage(websocket.BinaryMessage, piece); err != nil {
				t.Fatal(err)
			}
		}
		fragments, err := ws.NextWriter(websocket.BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		for _, piece := range [][]byte{packet[:cut], packet[cut:], packet} { // and several in one message
			if _, err := fragments.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		if err := fragments.Close(); err != nil {
			t.Fatal(err)
		}
		want = append(want, bytes.Repeat(packet, 3)...)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(h, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %q, %v, want %q", got, err, want)
	}
}

// Real fragments: a message of continuation frames with a ping between them.
func TestFragmentsWithPingBetween(t *testing.T) {
	r := start(t, configs.Listener{Type: "ws"}, Options{})
	ws, h := r.upgraded(t)
	var pong string
	ws.SetPongHandler(func(s string) error { pong = s; return nil })
	// Client frames with a zero mask.
	frames := "\x02\x82\x00\x00\x00\x00\xc0\x00" + "\x89\x84\x00\x00\x00\x00ping" + "\x80\x81\x00\x00\x00\x00\x30"
	if _, err := io.WriteString(ws.NetConn(), frames); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 3)
	if _, err := io.ReadFull(h, got); err != nil || string(got) != "\xc0\x00\x30" {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := h.Write([]byte("after the pong")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.ReadMessage(); err != nil || pong != "ping" {
		t.Errorf("pong is %q, %v", pong, err)
	}
}

// One Write is one binary frame, whatever its size.
func TestWriteIsOneFrame(t *testing.T) {
	r := start(t, configs.Listener{Type: "ws"}, Options{})
	ws, h := r.upgraded(t)
	for _, size := range []int{1, 125, 126, writeBufferBytes, 3 * writeBufferBytes} {
		want := bytes.Repeat([]byte{0xA5}, size)
		var writer sync.WaitGroup
		writer.Go(func() {
			if n, err := h.Write(want); n != size || err != nil {
				t.Errorf("Write: %d, %v, want %d", n, err, size)
			}
		})
		kind, got, err := ws.ReadMessage()
		if err != nil || kind != websocket.BinaryMessage || !bytes.Equal(got, want) {
			t.Errorf("message of kind %d with %d bytes, %v; want %d", kind, len(got), err, size)
		}
		writer.Wait()
	}
}

// A text frame ends the connection with code 1003 [MQTT5-6.0.0-1] [MQTT311-6.0.0-1].
func TestTextFrameEndsTheConnection(t *testing.T) {
	r := start(t, configs.Listener{Type: "ws"}, Options{})
	ws, h := r.upgraded(t)
	if err := ws.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	for range 2000 { // an error stays, however often one reads
		if n, err := h.Read(make([]byte, 10)); n != 0 || !errors.Is(err, errNoBinary) {
			t.Fatalf("Read: %d, %v, want errNoBinary", n, err)
		}
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseUnsupportedData) {
		t.Errorf("client saw %v, want close code 1003", err)
	}
}

// A message may be larger than the largest packet, as it may hold many, but not without bound.
func TestMessageIsBounded(t *testing.T) {
	r := start(t, configs.Listener{Type: "ws"}, Options{})
	ws, h := r.upgraded(t)
	h.Conn.(*wsConn).ws.SetReadLimit(1000)
	if err := ws.WriteMessage(websocket.BinaryMessage, make([]byte, 1001)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Read(make([]byte, 10)); !errors.Is(err, websocket.ErrReadLimit) {
		t.Errorf("Read: %v, want ErrReadLimit", err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
		t.Errorf("client saw %v, want close code 1009", err)
	}
}

func TestMessageMaxFollowsPacketSize(t *testing.T) {
	for packet, want := range map[uint32]int64{1 << 10: messageMin, 256 << 20: packetsPerMessage * 256 << 20} {
		if got := newWeb(&gate{options: Options{MaxPacketSize: packet}.withDefaults()}).messageMax; got != want {
			t.Errorf("packets of %d: messages of %d, want %d", packet, got, want)
		}
	}
}

// Close sends a close frame; twice is harmless; then everything fails as with any closed connection.
func TestCloseSendsACloseFrame(t *testing.T) {
	r := start(t, configs.Listener{Type: "ws"}, Options{})
	ws, h := r.upgraded(t)
	for range 2 {
		if err := h.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("client saw %v, want close code 1000", err)
	}
	if _, err := h.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read: %v, want net.ErrClosed", err)
	}
	if _, err := h.Write([]byte{0}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write: %v, want net.ErrClosed", err)
	}
}

// CloseWrite ends our direction only: what the client still sends is read.
func TestCloseWriteLeavesReading(t *testing.T) {
	r := start(t, configs.Listener{Type: "ws"}, Options{})
	ws, h := r.upgraded(t)
	if err := h.Conn.(*wsConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := ws.WriteMessage(websocket.BinaryMessage, []byte("late")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 10)
	if n, err := h.Read(got); err != nil || string(got[:n]) != "late" {
		t.Errorf("Read: %q, %v", got[:n], err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("client saw %v, want close code 1000", err)
	}
}

// However the client goes, with a close frame or without, Read says io.EOF.
func TestClientGoneIsEOF(t *testing.T) {
	for name, leave := range map[string]func(*websocket.Conn) error{
		"close frame": func(ws *websocket.Conn) error {
			return ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""), time.Now().Add(patience))
		},
		"no close frame": func(ws *websocket.Conn) error { return ws.NetConn().Close() },
	} {
		r := start(t, configs.Listener{Type: "ws"}, Options{})
		ws, h := r.upgraded(t)
		if err := leave(ws); err != nil {
			t.Fatal(err)
		}
		if n, err := h.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s: Read: %d, %v, want EOF", name, n, err)
		}
	}
}

// Deadlines reach calls that wait, as net.Conn demands.
func TestDeadlinesReachWaitingCalls(t *testing.T) {
	r := start(t, configs.Listener{Type: "ws"}, Options{})
	_, h := r.upgraded(t)
	past := time.Unix(1, 0)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if _, err := h.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read: %v, want os.ErrDeadlineExceeded", err)
		}
	})
	full := make(chan error)
	waiting.Go(func() {
		for {
			if _, err := h.Write(make([]byte, 1<<20)); err != nil { // until the socket is full
				full <- err
				return
			}
		}
	})
	if err := h.SetReadDeadline(past); err != nil {
		t.Fatal(err)
	}
	if err := h.SetWriteDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := <-full; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write: %v, want os.ErrDeadlineExceeded", err)
	}
	waiting.Wait()
}

// Close does not wait for a client that takes nothing.
func TestCloseEndsAWaitingWrite(t *testing.T) {
	r := start(t, configs.Listener{Type: "ws"}, Options{})
	_, h := r.upgraded(t)
	if err := h.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	written := make(chan int, 1000)
	go func() {
		defer close(written)
		for {
			n, err := h.Write(make([]byte, 1<<20))
			if err != nil {
				return
			}
			written <- n
		}
	}()
	<-written
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	for range written { // ends when Write failed
		continue
	}
}
