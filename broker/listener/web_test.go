package listener

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/penstockmq/penstock/configs"
)

// upgrade connects by WebSocket; header may be nil.
func (r *running) upgrade(t *testing.T, d websocket.Dialer, url string, header http.Header) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	d.HandshakeTimeout = patience
	if d.Subprotocols == nil {
		d.Subprotocols = []string{"mqtt"}
	}
	ws, response, err := d.Dial(url, header)
	if err == nil {
		t.Cleanup(func() { _ = ws.Close() })
		if err := ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	return ws, response, err
}

// upgraded is a WebSocket client with the connection it was handed over as.
func (r *running) upgraded(t *testing.T) (*websocket.Conn, handed) {
	t.Helper()
	ws, _, err := r.upgrade(t, websocket.Dialer{}, "ws://"+r.Addr().String()+"/mqtt", nil)
	if err != nil {
		t.Fatal(err)
	}
	h := r.next(t)
	if err := h.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return ws, h
}

// The server answers with the subprotocol that was asked for [MQTT5-6.0.0-4] [MQTT311-6.0.0-4].
func TestWebSocketSubprotocol(t *testing.T) {
	for _, c := range []struct {
		offered []string
		want    string
	}{
		{[]string{"mqtt"}, "mqtt"},
		{[]string{"mqttv3.1"}, "mqttv3.1"},
		{[]string{"chat", "mqttv3.1", "mqtt"}, "mqtt"},
	} {
		r := start(t, configs.Listener{Type: "ws"}, Options{})
		ws, _, err := r.upgrade(t, websocket.Dialer{Subprotocols: c.offered}, "ws://"+r.Addr().String()+"/mqtt", nil)
		if err != nil {
			t.Fatalf("%v: %v", c.offered, err)
		}
		h := r.next(t)
		if ws.Subprotocol() != c.want {
			t.Errorf("offered %v, got %q, want %q", c.offered, ws.Subprotocol(), c.want)
		}
		if h.peer.Remote.String() != ws.LocalAddr().String() || h.RemoteAddr().String() != ws.LocalAddr().String() {
			t.Errorf("remote is %v and %v, want %v", h.peer.Remote, h.RemoteAddr(), ws.LocalAddr())
		}
	}
}

func TestWebSocketRefuses(t *testing.T) {
	long := http.Header{"Cookie": {strings.Repeat("x", 2*headerBytesMax)}}
	elsewhere := http.Header{"Origin": {"https://evil.example"}}
	for name, c := range map[string]struct {
		offered []string
		path    string
		header  http.Header
		status  int
		logged  string
	}{
		"no subprotocol":    {[]string{}, "/mqtt", nil, http.StatusBadRequest, "subprotocol mqtt was not asked for"},
		"wrong subprotocol": {[]string{"wamp"}, "/mqtt", nil, http.StatusBadRequest, "subprotocol mqtt was not asked for"},
		"wrong path":        {nil, "/chat", nil, http.StatusNotFound, "/chat"},
		"foreign origin":    {nil, "/mqtt", elsewhere, http.StatusForbidden, "origin not allowed"},
		"endless header":    {nil, "/mqtt", long, http.StatusRequestHeaderFieldsTooLarge, errNoUpgrade.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, configs.Listener{Type: "ws", Origins: []string{"https://home.example"}}, Options{})
			_, response, err := r.upgrade(t, websocket.Dialer{Subprotocols: c.offered}, "ws://"+r.Addr().String()+c.path, c.header)
			if err == nil || response == nil || response.StatusCode != c.status {
				t.Fatalf("%v, %v, want status %d", response, err, c.status)
			}
			r.expectRefusal(t, RefusedHTTP, c.logged)
		})
	}
}

func TestWebSocketWithoutUpgradeIsRefused(t *testing.T) {
	r := start(t, configs.Listener{Type: "ws"}, Options{})
	client := r.dial(t)
	if _, err := io.WriteString(client, "GET /mqtt HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(client)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
		t.Errorf("answered %q, %v", answer, err)
	}
	r.expectRefusal(t, RefusedHTTP, "'upgrade' token not found")
}

// What is not HTTP at all, an MQTT CONNECT say, is refused too.
func TestWebSocketRefusesPlainMQTT(t *testing.T) {
	r := start(t, configs.Listener{Type: "ws"}, Options{})
	client := r.dial(t)
	if _, err := io.WriteString(client, "\x10\x0c\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(client)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
		t.Errorf("answered %q, %v", answer, err)
	}
	r.expectRefusal(t, RefusedHTTP, errNoUpgrade.Error())
}

func TestWebSocketOrigins(t *testing.T) {
	r := start(t, configs.Listener{Type: "ws", Path: "/chat", Origins: []string{"https://home.example:8443"}}, Options{})
	for _, header := range []http.Header{nil, {"Origin": {"https://HOME.example:8443"}}} {
		if _, _, err := r.upgrade(t, websocket.Dialer{}, "ws://"+r.Addr().String()+"/chat", header); err != nil {
			t.Errorf("%v: %v", header, err)
		}
	}
	anyone := start(t, configs.Listener{Type: "ws"}, Options{})
	header := http.Header{"Origin": {"https://evil.example"}}
	if _, _, err := anyone.upgrade(t, websocket.Dialer{}, "ws://"+anyone.Addr().String()+"/mqtt", header); err != nil {
		t.Errorf("without a list: %v", err)
	}
}

func TestSecureWebSocketTellsTheCommonName(t *testing.T) {
	a := newAuthority(t, "authority")
	cfg := mutual(t, secured(t, "wss", a), a)
	cfg.ProxyProtocol = "required"
	r := start(t, cfg, Options{})
	d := websocket.Dialer{
		TLSClientConfig: &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{a.sign(t, "tablet")}},
		NetDial: func(network, address string) (net.Conn, error) {
			nc, err := net.Dial(network, address)
			if err == nil {
				_, err = io.WriteString(nc, "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n")
			}
			return nc, err
		},
	}
	ws, _, err := r.upgrade(t, d, "wss://"+r.Addr().String()+"/mqtt", nil)
	if err != nil {
		t.Fatal(err)
	}
	h := r.next(t)
	if h.peer.CommonName != "tablet" || h.peer.Remote.String() != "192.0.2.7:4711" {
		t.Errorf("peer is %+v", h.peer)
	}
	if err := ws.WriteMessage(websocket.BinaryMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(h, got); err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
}

// A client that sends its request a byte at a time, forever, is closed at connect_timeout.
func TestSlowRequestEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startScripted(t, &gate{cfg: configs.Listener{Type: "ws"}}, Options{ConnectTimeout: 7 * time.Second})
		ours, slow := net.Pipe()
		s.accepts <- ours
		began := time.Now()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		request := "GET /mqtt HTTP/1.1\r\nHost: x\r\nX: "
		for range tick.C {
			if _, err := io.WriteString(slow, request); err != nil {
				break
			}
			request = "y"
		}
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("closed after %v, want 7 s", took)
		}
		r.expectRefusal(t, RefusedTimeout, "limits.connect_timeout")
	})
}

// Close ends requests in progress and leaves WebSockets alone.
func TestCloseLeavesWebSocketsAlone(t *testing.T) {
	r := start(t, configs.Listener{Type: "ws"}, Options{})
	ws, h := r.upgraded(t)
	begun := r.dial(t)
	if _, err := io.WriteString(begun, "GET /mqtt HTTP/1.1\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, begun)
	if _, err := h.Write([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := ws.ReadMessage(); err != nil || string(got) != "still here" {
		t.Errorf("read %q, %v", got, err)
	}
}

// A client may not send data before the upgrade is answered; the connection ends without one.
func TestDataBeforeUpgradeIsRefused(t *testing.T) {
	r := start(t, configs.Listener{Type: "ws"}, Options{})
	client := r.dial(t)
	_, err := io.WriteString(client, "GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n\x82\x80")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := bufio.NewReader(client).ReadByte(); err == nil {
		t.Errorf("answered %q", b)
	}
	r.expectRefusal(t, RefusedHTTP, "before handshake is complete")
}
