package clients

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/penstockmq/penstock/test/binary"
	"github.com/penstockmq/penstock/test/loopback"
)

// patience bounds every wait; it only matters when a test fails.
const patience = 20 * time.Second

// The addresses of the broker under test, host:port.
var brokerTCP, brokerWS string

// TestMain starts the broker for all tests and wants it to end in good order.
func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	brokerTCP, brokerWS = os.Getenv("PENSTOCK_TEST_TCP"), os.Getenv("PENSTOCK_TEST_WS")
	if brokerTCP != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "penstock-clients-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	b, err := startBroker(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code = m.Run()
	if err := b.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the broker:", err)
		code = 1
	}
	if code != 0 {
		fmt.Fprintf(os.Stderr, "the broker's log:\n%s\n", b.said())
	}
	return code
}

// A broker is the running binary.
type broker struct {
	cmd   *exec.Cmd
	log   string
	admin string
	ended chan error
}

// startBroker builds the binary in dir and starts it on free ports.
func startBroker(dir string) (*broker, error) {
	b := &broker{log: filepath.Join(dir, "log"), ended: make(chan error, 1)}
	program, err := binary.Build(dir)
	if err != nil {
		return nil, err
	}
	for _, address := range []*string{&brokerTCP, &brokerWS, &b.admin} {
		if *address, err = loopback.Free(); err != nil {
			return nil, err
		}
	}
	config := filepath.Join(dir, "penstock.yaml")
	yaml := fmt.Sprintf("listeners:\n  - {name: tcp, type: tcp, address: %q}\n  - {name: ws, type: ws, address: %q, path: /mqtt}\n"+
		"admin: {address: %q}\nlog: {level: debug}\n", brokerTCP, brokerWS, b.admin)
	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(b.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	b.cmd = exec.Command(program, "serve", "--config", config)
	b.cmd.Dir, b.cmd.Stdout, b.cmd.Stderr = dir, log, log
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { b.ended <- b.cmd.Wait() }()
	return b, b.awaitReady()
}

// awaitReady asks /readyz until it says yes.
func (b *broker) awaitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.admin+"/readyz", nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-b.ended:
			return fmt.Errorf("the broker ended: %w\n%s", err, b.said())
		case <-ctx.Done():
			_ = b.cmd.Process.Kill()
			return fmt.Errorf("the broker is not ready after %v\n%s", patience, b.said())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the broker as an operator does.
func (b *broker) stop() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-b.ended:
		return err
	case <-time.After(patience):
		return errors.Join(errors.New("still running"), b.cmd.Process.Kill())
	}
}

// said is the end of the broker's log.
func (b *broker) said() string {
	const most = 8 << 10
	text, err := os.ReadFile(b.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}
