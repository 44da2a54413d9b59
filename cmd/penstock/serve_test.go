package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/client"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/test/loopback"
)

// A started is a broker that runs in this process.
type started struct {
	lines   chan string // of its log
	startup []string    // those up to msg=ready
	signals chan os.Signal
	result  chan error
	address map[string]string // of each listener, by name
}

// start serves and returns when the broker is ready.
func start(t *testing.T, src source) *started {
	t.Helper()
	s := &started{
		lines: make(chan string, 1000), signals: make(chan os.Signal, 4), result: make(chan error, 1), address: map[string]string{},
	}
	src.flags = append([]configs.Flag{{Name: "--storage-path", Key: "storage.path", Value: t.TempDir()}}, src.flags...)
	go func() { s.result <- serve(context.Background(), src, s.signals, s) }()
	t.Cleanup(func() {
		s.signals <- syscall.SIGTERM
		select {
		case <-s.result:
		case <-time.After(20 * time.Second):
			t.Error("the broker did not stop")
		}
	})
	listening := regexp.MustCompile(`msg=listening name=(\S+) type=\S+ address=([^\s/]+)`)
	for {
		line := s.line(t, "")
		s.startup = append(s.startup, line)
		if m := listening.FindStringSubmatch(line); m != nil {
			s.address[m[1]] = m[2]
		}
		if strings.Contains(line, "msg=ready") {
			return s
		}
	}
}

// Write takes the log, a record each time.
func (s *started) Write(b []byte) (int, error) {
	s.lines <- string(b)
	return len(b), nil
}

// line waits for a line of the log with text in it.
func (s *started) line(t *testing.T, text string) string {
	t.Helper()
	for {
		select {
		case line := <-s.lines:
			if strings.Contains(line, text) {
				return line
			}
		case err := <-s.result:
			s.result <- err
			t.Fatal("serve ended:", err)
		case <-time.After(20 * time.Second):
			t.Fatalf("no %q in the log", text)
		}
	}
}

// at is a command line of pub or sub for a listener.
func (s *started) at(t *testing.T, name, command string, args ...string) []string {
	t.Helper()
	host, port, err := net.SplitHostPort(s.address[name])
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{command, "-h", host, "-p", port}, args...)
}

func listenAt(urls string) configs.Flag {
	return configs.Flag{Name: "--listen", Key: "listeners", Value: urls}
}

var anyAdmin = configs.Flag{Name: "--admin-address", Key: "admin.address", Value: "127.0.0.1:0"}

// A broker takes clients over TCP and WebSocket, tells its health, and ends in order.
func TestServe(t *testing.T) {
	s := start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0,ws://127.0.0.1:0/chat"), anyAdmin}})
	succeed(t, "", "health", "--address", s.address["admin"])
	web := "ws://" + s.address["ws"] + "/chat"
	for _, v := range []string{"31", "311", "5"} {
		succeed(t, "", s.at(t, "tcp", "pub", "-t", "a/"+v, "-m", "over tcp", "-r", "-q", "1", "-V", v)...)
		out := succeed(t, "", "sub", "--url", web, "-t", "a/"+v, "-C", "1", "-v", "-V", v)
		if want := "a/" + v + " over tcp\n"; out != want {
			t.Errorf("got %q, want %q", out, want)
		}
		succeed(t, "1\n2\n3\n", "pub", "--url", web, "-t", "lines", "-l", "-q", "2", "-r", "-V", v)
		out = succeed(t, "", s.at(t, "tcp", "sub", "-t", "lines", "-C", "1", "-F", `%t\t%p%%`, "-N", "-V", v)...)
		if want := "lines\t3%"; out != want {
			t.Errorf("got %q, want %q", out, want)
		}
	}
	s.signals <- syscall.SIGTERM
	if err := <-s.result; err != nil {
		t.Fatal(err)
	}
	s.result <- nil
	if code, _, _ := command(t, "", "health", "--address", s.address["admin"]); code != exitError {
		t.Errorf("health of a stopped broker: exit code %d", code)
	}
}

// A subscriber's session waits for it, and -W says when too little came.
func TestSubKeepsItsSession(t *testing.T) {
	s := start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin}})
	sub := s.at(t, "tcp", "sub", "-t", "a", "-q", "1", "-i", "logger", "-c")
	succeed(t, "", append(sub, "-E")...)
	succeed(t, "one\ntwo\n", s.at(t, "tcp", "pub", "-t", "a", "-q", "1", "-l")...)
	if out := succeed(t, "", append(sub, "-C", "2")...); out != "one\ntwo\n" {
		t.Errorf("got %q", out)
	}
	code, out, errs := command(t, "", append(sub, "-C", "2", "-W", "100ms")...)
	if code != exitError || out != "" || errs != "penstock: 0 of 2 messages arrived within 100ms\n" {
		t.Errorf("got %d, %q, %q", code, out, errs)
	}
	if out := succeed(t, "", append(sub, "-W", "100ms")...); out != "" {
		t.Errorf("got %q", out)
	}
}

func TestPropertiesOnTheCommandLine(t *testing.T) {
	s := start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin}})
	file := t.TempDir() + "/payload"
	write(t, file, "from a file")
	succeed(t, "", s.at(t, "tcp", "pub", "-t", "a", "-f", file, "-r", "--content-type", "text/plain", "--response-topic", "b",
		"--correlation-data", "c", "--utf8", "--user-property", "k=v=w", "--user-property", "l=", "--expiry", "100")...)
	out := succeed(t, "", s.at(t, "tcp", "sub", "-t", "a", "-C", "1", "-F", "%p|%C|%R|%D|%F|%P|%r")...)
	if want := "from a file|text/plain|b|c|1|k:v=w l:|1\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	succeed(t, "all\nof it", s.at(t, "tcp", "pub", "-t", "a", "-s", "-r")...)
	if out := succeed(t, "", s.at(t, "tcp", "sub", "-t", "a", "-C", "1")...); out != "all\nof it\n" {
		t.Errorf("got %q", out)
	}
	succeed(t, "", s.at(t, "tcp", "pub", "-t", "a", "-n", "-r")...)
	succeed(t, "", s.at(t, "tcp", "pub", "-t", "b", "-m", "left", "-r")...)
	if out := succeed(t, "", s.at(t, "tcp", "sub", "-t", "#", "-C", "1", "-v")...); out != "b left\n" {
		t.Errorf("an empty message deletes the retained one: got %q", out)
	}
}

// What cannot be opened is told before a client is served, and nothing stays open.
func TestAnAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	free, taken := loopback.FreeAddress(t), l.Addr().String()
	for _, args := range [][]string{
		{"serve", "--listen", "tcp://" + free, "--listen", "ws://" + taken, "--admin-address", "", "--storage-path", "", "--log-level", "error"},
		{"serve", "--listen", "tcp://" + free, "--admin-address", taken, "--storage-path", "", "--log-level", "error"},
	} {
		code, _, errs := command(t, "", args...)
		if want := "another program listens at " + taken + "\n"; code != exitError || !strings.HasSuffix(errs, want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%q: got %d, %q", args, code, errs)
		}
	}
	again, err := net.Listen("tcp", free)
	if err != nil {
		t.Fatal("the first listener is still open:", err)
	}
	again.Close()
}

// SIGHUP takes over accounts and access rules, with effect on who is connected, and the log level; it
// names what needs a restart, and ignores a configuration with a mistake.
func TestReload(t *testing.T) {
	t.Chdir(t.TempDir())
	succeed(t, "one\n", "user", "add", "users", "alice")
	succeed(t, "two\n", "user", "add", "users", "bob")
	write(t, "acl.yaml", "rules:\n- {allow: all, filter: '#'}\n")
	const config = "auth: {password_file: users, acl_file: acl.yaml}\nadmin: {address: ''}\nlog: {level: %s}\nlimits: {max_qos: %d}\n"
	write(t, "p.yaml", fmt.Sprintf(config, "info", 2))
	s := start(t, source{file: "p.yaml", flags: []configs.Flag{listenAt("tcp://127.0.0.1:0")}})
	alice, bob := s.subscribe(t, "alice", "one"), s.subscribe(t, "bob", "two")

	succeed(t, "three\n", "user", "passwd", "users", "alice")
	write(t, "acl.yaml", "rules:\n- {allow: subscribe, filter: '#'}\n- {allow: publish, filter: open}\n")
	write(t, "p.yaml", fmt.Sprintf(config, "debug", 1))
	s.signals <- syscall.SIGHUP
	s.line(t, `msg=reloaded changed=log.level`)
	s.line(t, `msg="these need a restart" keys=limits.max_qos`)
	var r *client.Refusal
	if err := <-alice; !errors.As(err, &r) || r.Code != packet.NotAuthorized {
		t.Errorf("alice's password changed: got %v", err)
	}
	as := s.at(t, "tcp", "pub", "-u", "bob", "-P", "two", "-q", "1", "-m", "x")
	if code, _, errs := command(t, "", append(as, "-t", "closed")...); code != exitError || !strings.HasPrefix(errs, "penstock: publish closed: not authorized") {
		t.Errorf("publishing what is no longer allowed: got %d, %q", code, errs)
	}
	succeed(t, "", append(as, "-t", "open")...)
	if code, _, errs := command(t, "", s.at(t, "tcp", "pub", "-u", "alice", "-P", "one", "-t", "open", "-n")...); code != exitError {
		t.Errorf("the old password: got %d, %q", code, errs)
	}

	write(t, "p.yaml", "log: {level: loud}\n")
	write(t, "acl.yaml", "rules: []\n")
	s.signals <- syscall.SIGHUP
	s.line(t, `msg="configuration not reloaded" err="p.yaml:1: log.level: expected debug`)
	succeed(t, "", append(as, "-t", "open")...)
	select {
	case err := <-bob:
		t.Errorf("bob's account did not change: got %v", err)
	default:
	}
}

// subscribe keeps a client connected and gives the error that ends it.
func (s *started) subscribe(t *testing.T, username, password string) <-chan error {
	t.Helper()
	ready, ended := make(chan struct{}, 10), make(chan error, 1)
	o := client.Options{
		Endpoint: client.Endpoint{Scheme: "mqtt", Address: s.address["tcp"]}, Version: client.MQTT5,
		ClientID: username, Username: username, Password: password, Clean: true, Timeout: 10 * time.Second,
	}
	go func() {
		_, err := client.Subscribe(t.Context(), o, client.Subscription{
			Filters: []client.Filter{{Filter: "a"}}, Ready: func() { ready <- struct{}{} },
		})
		ended <- err
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	return ended
}

func TestReloadReadsCertificates(t *testing.T) {
	t.Chdir(t.TempDir())
	writeCertificate(t, 1)
	s := start(t, source{flags: []configs.Flag{listenAt("tls://127.0.0.1:0?cert=c.pem&key=k.pem"), anyAdmin}})
	serial := func() int64 {
		c, err := tls.Dial("tcp", s.address["tls"], &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Fatalf("got certificate %d", got)
	}
	writeCertificate(t, 2)
	s.signals <- syscall.SIGHUP
	s.line(t, "msg=reloaded")
	if got := serial(); got != 2 {
		t.Errorf("got certificate %d", got)
	}
}

func writeCertificate(t *testing.T, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, "c.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, "k.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
}

// A stuck is a listener that does not close until it is let go.
type stuck struct {
	listener.Listener
	closing chan struct{}
	letGo   chan struct{}
}

func (s *stuck) Close() error {
	close(s.closing)
	<-s.letGo
	return nil
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	l := &stuck{closing: make(chan struct{}), letGo: make(chan struct{})}
	defer close(l.letGo)
	var log bytes.Buffer
	s := &server{config: configs.Default(), log: slog.New(slog.NewTextHandler(&log, nil)), listeners: []listener.Listener{l}}
	signals, result := make(chan os.Signal, 2), make(chan error, 1)
	go func() { result <- s.stop(signals) }()
	<-l.closing
	signals <- syscall.SIGHUP // is no reason to hurry
	signals <- os.Interrupt
	if err := <-result; !errors.Is(err, errSecondSignal) {
		t.Errorf("got %v", err)
	}
}
