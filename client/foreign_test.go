package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/test/loopback"
)

// A foreign is a broker that is not ours, with listeners of every kind.
type foreign struct {
	server *mochi.Server
	tcp    Endpoint
	tls    Endpoint
	ws     Endpoint
	unix   Endpoint
	ca     string      // file of the authority behind the certificate of tls
	left   chan string // identifiers of clients whose connection it has done with
}

func startForeign(t *testing.T) *foreign {
	t.Helper()
	folder := t.TempDir()
	pair, ca := certificate(t, folder)
	socket := filepath.Join(folder, "s")
	server := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	left := make(chan string, 1000)
	if err := server.AddHook(&doorman{left: left}, nil); err != nil {
		t.Fatal(err)
	}
	tcp := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	secure := listeners.NewTCP(listeners.Config{
		ID: "tls", Address: "127.0.0.1:0", TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}},
	})
	unix := listeners.NewUnixSock(listeners.Config{ID: "unix", Address: socket})
	web := listeners.NewWebsocket(listeners.Config{ID: "ws", Address: loopback.FreeAddress(t)}) // it cannot tell which port it was given
	for _, l := range []listeners.Listener{tcp, secure, unix, web} {
		if err := server.AddListener(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return &foreign{
		server: server, ca: ca, left: left,
		tcp:  Endpoint{Scheme: "mqtt", Address: tcp.Address()},
		tls:  Endpoint{Scheme: "mqtts", Address: secure.Address()},
		ws:   Endpoint{Scheme: "ws", Address: web.Address(), Path: "/mqtt"},
		unix: Endpoint{Scheme: "unix", Address: socket},
	}
}

func certificate(t *testing.T, folder string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// A doorman refuses the user mallory, topics below secret/, and publications to full/.
type doorman struct {
	mochi.HookBase
	left chan<- string
}

func (*doorman) ID() string { return "doorman" }

func (*doorman) Provides(b byte) bool {
	return bytes.Contains([]byte{mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnPublish, mochi.OnDisconnect}, []byte{b})
}

func (*doorman) OnConnectAuthenticate(_ *mochi.Client, p packets.Packet) bool {
	return string(p.Connect.Username) != "mallory"
}

func (*doorman) OnACLCheck(_ *mochi.Client, topic string, _ bool) bool {
	return !strings.HasPrefix(topic, "secret")
}

func (*doorman) OnPublish(_ *mochi.Client, p packets.Packet) (packets.Packet, error) {
	if p.TopicName == "full" {
		return p, packets.ErrQuotaExceeded
	}
	return p, nil
}

func (d *doorman) OnDisconnect(c *mochi.Client, _ error, _ bool) { d.left <- c.ID }

// waitLeft waits until the broker has done with a client's connection.
func (f *foreign) waitLeft(t *testing.T, id string) {
	t.Helper()
	for {
		select {
		case left := <-f.left:
			if left == id {
				return
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s did not leave", id)
		}
	}
}

// options for a version of MQTT, with an identifier that no other client has.
func options(t *testing.T, version byte, e Endpoint) Options {
	t.Helper()
	return Options{
		Endpoint: e, Version: version, ClientID: "c" + rand.Text()[:10], Clean: true, KeepAlive: 30, Timeout: 10 * time.Second,
	}
}

// A subscriber runs Subscribe and gives what arrived.
type subscriber struct {
	messages chan *Message
	warnings chan error
	result   chan error
	stop     context.CancelFunc
}

// listen subscribes and returns when the subscription stands.
func listen(t *testing.T, o Options, s Subscription) *subscriber {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &subscriber{
		messages: make(chan *Message, 1000), warnings: make(chan error, 100), result: make(chan error, 1), stop: stop,
	}
	ready := make(chan struct{}, 100)
	s.Ready = func() { ready <- struct{}{} }
	s.Warn = func(err error) { l.warnings <- err }
	s.Handle = func(m *Message) error { l.messages <- m; return nil }
	go func() {
		_, err := Subscribe(ctx, o, s)
		l.result <- err
	}()
	t.Cleanup(stop)
	select {
	case <-ready:
	case err := <-l.result:
		t.Fatal("subscribe:", err)
	}
	return l
}

func (s *subscriber) next(t *testing.T) *Message {
	t.Helper()
	select {
	case m := <-s.messages:
		return m
	case <-time.After(20 * time.Second):
		t.Fatal("no message arrived")
		return nil
	}
}

// end stops the subscriber and returns what was left of its messages.
func (s *subscriber) end(t *testing.T) []*Message {
	t.Helper()
	s.stop()
	if err := <-s.result; err != nil {
		t.Fatal(err)
	}
	close(s.messages)
	var rest []*Message
	for m := range s.messages {
		rest = append(rest, m)
	}
	return rest
}

func publish(t *testing.T, o Options, m Message, payloads ...string) error {
	t.Helper()
	var text bytes.Buffer
	for _, p := range payloads {
		text.WriteString(p + "\n")
	}
	n, err := Publish(t.Context(), o, Publication{Message: m, Source: Lines(&text), Window: 20})
	if err == nil && n != len(payloads) {
		t.Errorf("%d of %d were acknowledged", n, len(payloads))
	}
	return err
}

// A brokenReader fails after its text.
type brokenReader struct{ io.Reader }

func (b brokenReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
