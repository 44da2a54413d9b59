package bridge

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/penstockmq/penstock/test/binary"
	"github.com/penstockmq/penstock/test/loopback"
)

// scratch is a folder that lives as long as the tests.
var scratch string

// program is the broker, built once.
var program = sync.OnceValues(func() (string, error) { return binary.Build(scratch) })

// TestMain makes the folder.
func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "penstock-bridge-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	return m.Run()
}

// A process is a broker that can be killed.
type process struct {
	t       testing.TB
	name    string
	folder  string
	config  string
	prefix  []string // command in front, to run it somewhere else
	address string   // host:port of MQTT
	admin   string
	dialer  dialer // that reaches it; nil dials from here
	log     binary.Log

	mu  sync.Mutex // guards cmd
	cmd *exec.Cmd
}

// startProcess starts a broker with a configuration, to which listeners, storage and admin are added.
func startProcess(t testing.TB, p *process, bridges string) *process {
	t.Helper()
	p.t = t
	if p.address == "" {
		p.address, p.admin = loopback.FreeAddress(t), loopback.FreeAddress(t)
	}
	p.folder = t.TempDir()
	p.config = filepath.Join(p.folder, "penstock.yaml")
	yaml := fmt.Sprintf("listeners: [{name: tcp, type: tcp, address: %q}]\nauth: {anonymous: always}\nstorage: {path: %q}\n"+
		"admin: {address: %q, token: secret}\nsys: {interval: 0s}\n%s", p.address, filepath.Join(p.folder, "data"), p.admin, bridges)
	if err := os.WriteFile(p.config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	p.start()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", p.name, p.tail())
		}
	})
	return p
}

func (p *process) start() {
	p.t.Helper()
	path, err := program()
	if err != nil {
		p.t.Fatal(err)
	}
	args := append(append([]string{}, p.prefix...), path, "serve", "--config", p.config)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = &p.log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.cmd = cmd
	p.mu.Unlock()
}

// reachable waits until it takes clients.
func (p *process) reachable() {
	p.t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	if p.dialer != nil {
		transport.DialContext = func(_ context.Context, _, address string) (net.Conn, error) { return p.dialer(address) }
	}
	client := &http.Client{Transport: transport, Timeout: time.Second}
	await(p.t, p.name+" ready", func() bool {
		answer, err := client.Get("http://" + p.admin + "/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// kill ends it at once, as kill -9 does.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.cmd.Wait()         // killed
	p.cmd = nil
}

// tail is the end of what it said.
func (p *process) tail() string {
	const most = 8000
	text := p.log.String()
	return text[max(0, len(text)-most):]
}
