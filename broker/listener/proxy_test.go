package listener

import (
	"cmp"
	"crypto/tls"
	"net"
	"net/netip"
	"testing"

	"github.com/penstockmq/penstock/configs"
	"github.com/pires/go-proxyproto"
)

func v2(t *testing.T, source, destination net.Addr) string {
	t.Helper()
	b, err := proxyproto.HeaderProxyFromAddrs(2, source, destination).Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func tcpAddr(s string) *net.TCPAddr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

func TestProxyHeaderTellsTheClient(t *testing.T) {
	unix := &net.UnixAddr{Net: "unix", Name: "/run/client"}
	for name, c := range map[string]struct{ header, remote string }{
		"v1 IPv4":    {"PROXY TCP4 192.0.2.7 192.0.2.1 4711 1883\r\n", "192.0.2.7:4711"},
		"v1 IPv6":    {"PROXY TCP6 2001:db8::7 2001:db8::1 4711 1883\r\n", "[2001:db8::7]:4711"},
		"v1 unknown": {"PROXY UNKNOWN\r\n", ""},
		"v2 IPv4":    {v2(t, tcpAddr("192.0.2.7:4711"), tcpAddr("192.0.2.1:1883")), "192.0.2.7:4711"},
		"v2 IPv6":    {v2(t, tcpAddr("[2001:db8::7]:4711"), tcpAddr("[2001:db8::1]:1883")), "[2001:db8::7]:4711"},
		"v2 unix":    {v2(t, unix, unix), "/run/client"}, // longer than the buffer that looks for it
		"v2 local":   {"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", ""},
	} {
		for _, mode := range []string{"optional", "required"} {
			t.Run(name+" "+mode, func(t *testing.T) { expectAnnounced(t, mode, c.header, c.remote) })
		}
	}
}

// expectAnnounced sends a header and the client's first bytes in one piece, and wants to see both; an
// empty remote stands for the client's own address.
func expectAnnounced(t *testing.T, mode, header, remote string) {
	t.Helper()
	r := start(t, configs.Listener{Type: "tcp", ProxyProtocol: mode}, Options{})
	client := r.dial(t)
	if _, err := client.Write([]byte(header + "to tcp")); err != nil {
		t.Fatal(err)
	}
	h := r.next(t)
	if got, want := h.peer.Remote.String(), cmp.Or(remote, client.LocalAddr().String()); got != want {
		t.Errorf("remote is %s, want %s", got, want)
	}
	got := make([]byte, 3)
	for _, want := range []string{"to ", "tcp"} {
		if n, err := h.Read(got); err != nil || string(got[:n]) != want {
			t.Fatalf("read %q, %v, want %q", got[:n], err, want)
		}
	}
	expectTalk(t, client, h)
}

func TestProxyHeaderAbsentWhereOptional(t *testing.T) {
	r := start(t, configs.Listener{Type: "tcp", ProxyProtocol: "optional"}, Options{})
	client := r.dial(t)
	if _, err := client.Write([]byte("\x10")); err != nil {
		t.Fatal(err)
	}
	h := r.next(t)
	if got := h.peer.Remote.String(); got != client.LocalAddr().String() {
		t.Errorf("remote is %s, want %s", got, client.LocalAddr())
	}
	first := make([]byte, 10)
	if n, err := h.Read(first); err != nil || string(first[:n]) != "\x10" {
		t.Fatalf("read %q, %v", first[:n], err)
	}
	expectTalk(t, client, h)
	half, ok := h.Conn.(interface{ CloseWrite() error })
	if !ok {
		t.Fatal("the connection cannot end one direction")
	}
	if err := half.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, client)
}

func TestProxyHeaderRefused(t *testing.T) {
	udp := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1}
	for name, c := range map[string]struct{ mode, sent, logged string }{
		"absent":       {"required", "\x10\x0c\x00\x04MQTT", "signature not present"},
		"v1 malformed": {"required", "PROXY TCP4 nonsense\r\n", "err="},
		"v1 endless":   {"optional", "PROXY " + string(make([]byte, 200)), "err="},
		"v2 malformed": {"optional", "\r\n\r\n\x00\r\nQUIT\n\x21\xff\x00\x00", "err="},
		"v2 udp":       {"required", v2(t, udp, udp), errNotStream.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, configs.Listener{Type: "tcp", ProxyProtocol: c.mode}, Options{})
			client := r.dial(t)
			if _, err := client.Write([]byte(c.sent)); err != nil {
				t.Fatal(err)
			}
			r.expectRefusal(t, RefusedProxyHeader, c.logged)
			expectEnd(t, client)
		})
	}
}

// "anonymous: loopback" trusts clients of this machine: only somebody on it may announce one.
func TestProxyHeaderCannotClaimThisMachine(t *testing.T) {
	local := []net.Addr{tcpAddr("127.0.0.1:1"), tcpAddr("[::1]:1"), tcpAddr("[::ffff:127.0.0.1]:1"), &net.UnixAddr{Net: "unix"}}
	far := tcpAddr("192.0.2.7:1")
	for _, announced := range local {
		if err := believable(announced, far); err != errSpoofed {
			t.Errorf("%v from %v: %v, want errSpoofed", announced, far, err)
		}
		for _, actual := range local {
			if err := believable(announced, actual); err != nil {
				t.Errorf("%v from %v: %v", announced, actual, err)
			}
		}
	}
	if err := believable(far, tcpAddr("192.0.2.9:1")); err != nil {
		t.Error(err)
	}
}

// The header comes before TLS.
func TestProxyHeaderBeforeTLS(t *testing.T) {
	a := newAuthority(t, "authority")
	cfg := secured(t, "tls", a)
	cfg.ProxyProtocol = "required"
	r := start(t, cfg, Options{})
	nc := r.dial(t)
	if _, err := nc.Write([]byte("PROXY TCP4 192.0.2.7 192.0.2.1 4711 8883\r\n")); err != nil {
		t.Fatal(err)
	}
	client := tls.Client(nc, &tls.Config{RootCAs: a.pool(), ServerName: "127.0.0.1"})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	h := r.next(t)
	if got := h.peer.Remote.String(); got != "192.0.2.7:4711" {
		t.Errorf("remote is %s", got)
	}
	expectTalk(t, client, h)
}
