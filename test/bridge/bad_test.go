package bridge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/bridge"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/test/loopback"
)

// certificates writes an authority, a certificate for 127.0.0.1 and one for a client, and their keys.
func certificates(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	caKey := newKey(t)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caBytes := sign(t, ca, ca, caKey, caKey)
	store(t, folder, "ca", caBytes, nil)
	for i, name := range []string{"server", "client"} {
		key := newKey(t)
		c := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		store(t, folder, name, sign(t, c, ca, key, caKey), key)
	}
	return folder
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, c, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) []byte {
	b, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func store(t *testing.T, folder, name string, certificate []byte, key *ecdsa.PrivateKey) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	if err := os.WriteFile(filepath.Join(folder, name+".pem"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if key == nil {
		return
	}
	b, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})
	if err := os.WriteFile(filepath.Join(folder, name+".key"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TLS with client certificates, WebSocket and both work; a certificate of somebody else does not, and says so.
func TestTransports(t *testing.T) {
	folder := certificates(t)
	file := func(name string) string { return filepath.Join(folder, name) }
	for _, l := range []struct{ kind, scheme, path string }{{"tls", "tls", ""}, {"ws", "ws", "/mqtt"}, {"wss", "wss", "/mqtt"}} {
		t.Run(l.kind, func(t *testing.T) {
			cfg := configs.Listener{Name: l.kind, Type: l.kind, Path: l.path, ProxyProtocol: "off"}
			if l.kind != "ws" {
				cfg.Cert, cfg.Key, cfg.ClientCA = file("server.pem"), file("server.key"), file("ca.pem")
			}
			hub := begin(&node{t: t, name: "hub", address: loopback.FreeAddress(t), listens: &cfg})
			b := bridgeTo("hub", hub.address, rule("#", configs.DirectionOut))
			b.Address = l.scheme + "://" + hub.address + l.path
			b.CA, b.Cert, b.Key = file("ca.pem"), file("client.pem"), file("client.key")
			edge := startNode(t, "edge", b)
			edge.connected()
			if l.kind == "ws" {
				return
			}
			b.Name, b.CA = "stranger", ""
			edge.bridges = append(edge.bridges, b)
			if err := edge.hook.Reload(edge.bridges); err != nil {
				t.Fatal(err)
			}
			edge.fails("stranger", "certificate")
		})
	}
}

// fails waits until a bridge gave a reason, and wants it to be waiting between a few attempts.
func (n *node) fails(name, reason string) {
	n.t.Helper()
	n.await("reason of "+name, func() bool { return strings.Contains(n.status(name).Reason, reason) })
	n.await(name+" waiting", func() bool { return n.status(name).State == bridge.StateWaiting })
}

// Each mistake is a state with a reason, and no hurry.
func TestBadRemotes(t *testing.T) {
	silent := func(t *testing.T) string { return loopback.Serve(t, func(net.Conn) { <-t.Context().Done() }) }
	talker := func(answer string) func(t *testing.T) string {
		return func(t *testing.T) string {
			return loopback.Serve(t, func(c net.Conn) { fmt.Fprint(c, answer) })
		}
	}
	for _, bad := range []struct {
		name, version string
		start         func(t *testing.T) string
		reason        string
	}{
		{"nobody", configs.VersionAuto, func(t *testing.T) string { return loopback.FreeAddress(t) }, "connection refused"},
		{"a web server", configs.Version5, talker("HTTP/1.1 400 Bad Request\r\n\r\n"), "connect to"},
		{"a web server", configs.Version311, talker("HTTP/1.1 400 Bad Request\r\n\r\n"), "connect to"},
		{"one that closes", configs.Version311, talker(""), "closed the connection"},
		{"one that is silent", configs.Version5, silent, "does not answer"},
		{"one that is silent", configs.Version311, silent, "does not answer"},
		{"one that refuses us", configs.Version5, func(t *testing.T) string { return startMochi(t, &stern{}) }, "bad user name or password"},
		{"one that refuses us", configs.Version311, func(t *testing.T) string { return startMochi(t, &stern{}) }, "refused"},
	} {
		t.Run(bad.name+" "+bad.version, func(t *testing.T) {
			t.Parallel()
			b := bridgeTo("hub", bad.start(t), rule("#", configs.DirectionOut))
			b.Version, b.BridgeBit, b.AnswerTimeout = bad.version, false, 300*time.Millisecond
			edge := startNode(t, "edge", b)
			edge.fails("hub", bad.reason)
		})
	}
}

// stern is a broker's access rule: nobody comes in.
type stern struct{ mochi.HookBase }

// Provides implements mochi.Hook.
func (*stern) Provides(b byte) bool { return b == mochi.OnConnectAuthenticate }

// OnConnectAuthenticate implements mochi.Hook.
func (*stern) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return false }

// A broker that takes a connection and then nothing more slows nobody here.
func TestDeadRemoteSlowsNobody(t *testing.T) {
	dead := loopback.Serve(t, func(c net.Conn) {
		hello := make([]byte, 4096)
		if _, err := c.Read(hello); err == nil {
			_, _ = c.Write([]byte{0x20, 2, 0, 0}) // CONNACK, and not a byte more is read
		}
		<-t.Context().Done()
	})
	b := bridgeTo("hub", dead, rule("#", configs.DirectionOut))
	b.Version = configs.Version311
	edge := startNode(t, "edge", b)
	sub, u := connect(t, edge.address, "sub"), connect(t, edge.address, "u")
	sub.subscribe("#", 1)
	const n = 2000
	for k := range n {
		u.client.Publish("t", byte(k%2), false, strings.Repeat("x", 2000))
	}
	sub.wants(n)
	if s := edge.status("hub"); s.QueueMessages < n/2 {
		t.Errorf("%d messages in the queue", s.QueueMessages)
	}
}

// A broker that does not know MQTT 5 is spoken to in 3.1.1.
func TestFallsBack(t *testing.T) {
	real := startNode(t, "hub")
	old := loopback.Serve(t, func(c net.Conn) { answerOld(c, real.address) })
	b := bridgeTo("hub", old, rule("#", configs.DirectionOut))
	b.BridgeBit = true
	edge := startNode(t, "edge", b)
	edge.connected()
	if s := edge.status("hub"); s.Version != "3.1.1" {
		t.Errorf("version %s", s.Version)
	}
}

// answerOld refuses protocol levels but 4, and hands the others on.
func answerOld(c net.Conn, target string) {
	hello := make([]byte, 4096)
	n, err := c.Read(hello)
	if err != nil {
		return
	}
	at := 1
	for hello[at] >= 0x80 {
		at++
	}
	if level := hello[at+1+2+4]; level != 4 {
		_, _ = c.Write([]byte{0x20, 2, 0, 1}) // CONNACK: unacceptable protocol version
		return
	}
	out, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer out.Close()
	if _, err := out.Write(hello[:n]); err != nil {
		return
	}
	done := make(chan struct{})
	go func() { defer close(done); copyTo(c, out) }()
	copyTo(out, c)
	<-done
}

func copyTo(to, from net.Conn) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			to.Close()
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// A message that is too large for the other broker is counted and dropped, and the next arrives; in the other direction too.
func TestTooLarge(t *testing.T) {
	for _, version := range []string{configs.Version5, configs.Version311} {
		t.Run(version, func(t *testing.T) {
			small := func(l *configs.Limits) { l.MaxPacketSize = 1024 }
			hub := begin(&node{t: t, name: "hub", address: loopback.FreeAddress(t)})
			b := bridgeTo("hub", hub.address, rule("#", configs.DirectionIn))
			b.Version = version
			edge := begin(&node{t: t, name: "edge", address: loopback.FreeAddress(t), bridges: []configs.Bridge{b}, limits: small})
			edge.connected()
			sub, u := connect(t, edge.address, "sub"), connect(t, hub.address, "u")
			sub.subscribe("#", 2)
			for qos := range byte(3) {
				u.publish("big", strings.Repeat("x", 2000), qos)
				u.publish("small", "y", qos)
			}
			sub.wants(3)
			if s := edge.status("hub"); version == configs.Version311 && s.Dropped["packet_too_large"] != 3 || s.Connects != 1 {
				t.Errorf("dropped %v, connected %d times", s.Dropped, s.Connects)
			}
		})
	}
	hub := begin(&node{t: t, name: "hub", address: loopback.FreeAddress(t), limits: func(l *configs.Limits) { l.MaxPacketSize = 1024 }})
	edge := startNode(t, "edge", bridgeTo("hub", hub.address, rule("#", configs.DirectionOut)))
	edge.connected()
	sub, u := connect(t, hub.address, "sub"), connect(t, edge.address, "u")
	sub.subscribe("#", 2)
	u.publish("big", strings.Repeat("x", 2000), 1)
	u.publish("small", "y", 1)
	sub.wants(1)
	edge.await("queue empty", func() bool { return edge.status("hub").QueueMessages == 0 })
	if s := edge.status("hub"); s.Dropped["packet_too_large"] != 1 || s.Connects != 1 {
		t.Errorf("dropped %v, connected %d times", s.Dropped, s.Connects)
	}
}

// With MQTT 3.1.1 another broker can only close the connection for a message that is too large for it. Such a message is dropped after
// a few, and the next arrives.
func TestTooLargeWithoutAWord(t *testing.T) {
	hub := begin(&node{t: t, name: "hub", address: loopback.FreeAddress(t), limits: func(l *configs.Limits) { l.MaxPacketSize = 1024 }})
	b := bridgeTo("hub", hub.address, rule("#", configs.DirectionOut))
	b.Version = configs.Version311
	edge := startNode(t, "edge", b)
	edge.connected()
	sub, u := connect(t, hub.address, "sub"), connect(t, edge.address, "u")
	sub.subscribe("#", 2)
	u.publish("first", "x", 1)
	sub.wants(1)
	u.publish("big", strings.Repeat("x", 10_000), 1)
	u.publish("small", "y", 1)
	sub.wants(2)
	if s := edge.status("hub"); s.Dropped["packet_too_large"] != 1 {
		t.Errorf("dropped %v", s.Dropped)
	}
}

// A bridge to the broker itself is refused.
func TestBridgeToItself(t *testing.T) {
	n := startNode(t, "n")
	n.bridges = []configs.Bridge{bridgeTo("self", n.address, rule("#", configs.DirectionBoth))}
	n.bridges[0].Version = configs.Version5
	if err := n.hook.Reload(n.bridges); err != nil {
		t.Fatal(err)
	}
	n.await("reason", func() bool {
		return strings.Contains(n.status("self").Reason, "itself") || strings.Contains(n.status("self").Reason, "comes from")
	})
}
