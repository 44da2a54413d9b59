package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// A Broker is a program that can be started to be measured.
type Broker struct {
	Name string
	// Path is the program.
	Path string
	// config is the text of its configuration file for a port of 127.0.0.1 and a window.
	config func(port, window int) string
	// args are its arguments, given the configuration file.
	args func(file string) []string
}

// Penstock is this broker, with default limits except for the window, and without metrics.
func Penstock(path string) Broker {
	return Broker{
		Name: "penstock", Path: path,
		args: func(file string) []string { return []string{"serve", "--config", file} },
		config: func(port, window int) string {
			return fmt.Sprintf(`listeners:
  - {name: bench, type: tcp, address: "127.0.0.1:%d"}
limits: {receive_maximum: %d, max_inflight: %d}
admin: {address: ""}
log: {level: warn}
`, port, window, min(window, windowMax-1))
		},
	}
}

// Mosquitto is Eclipse Mosquitto, as Debian builds it, with room for the window and queues without a bound.
func Mosquitto(path string) Broker {
	return Broker{
		Name: "mosquitto", Path: path,
		args: func(file string) []string { return []string{"-c", file} },
		config: func(port, window int) string {
			return fmt.Sprintf(`listener %d 127.0.0.1
allow_anonymous true
max_inflight_messages %d
max_queued_messages 0
persistence false
log_type error
`, port, window)
		},
	}
}

// A server is a broker that runs.
type server struct {
	address string
	command *exec.Cmd
	folder  string
	said    *bytes.Buffer // what it wrote; to be read once it has ended
	ended   chan struct{} // closed when the process is gone
}

const (
	startTimeout = 15 * time.Second
	stopTimeout  = 10 * time.Second
	retryAfter   = 20 * time.Millisecond
)

// start starts the broker on a free port and waits until it answers a CONNECT.
func (b Broker) start(ctx context.Context, window int) (*server, error) {
	folder, err := os.MkdirTemp("", "penstock-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	s := &server{folder: folder, said: new(bytes.Buffer), ended: make(chan struct{})}
	if err := s.launch(b, window); err != nil {
		os.RemoveAll(folder)
		return nil, fmt.Errorf("bench: start %s: %w", b.Name, err)
	}
	if err := s.await(ctx); err != nil {
		stopErr := s.stop()
		return nil, fmt.Errorf("bench: start %s: %w", b.Name, errors.Join(err, stopErr, s.words()))
	}
	return s, nil
}

func (s *server) launch(b Broker, window int) error {
	raiseFileLimit()
	port, err := freePort()
	if err != nil {
		return err
	}
	s.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	file := filepath.Join(s.folder, "config")
	if err := os.WriteFile(file, []byte(b.config(port, window)), 0o600); err != nil {
		return err
	}
	s.command = exec.Command(b.Path, b.args(file)...)
	s.command.Dir = s.folder
	s.command.Stdout, s.command.Stderr = s.said, s.said
	if err := s.command.Start(); err != nil {
		return err
	}
	go func() {
		defer close(s.ended)
		_ = s.command.Wait() // how it ended shows in what it said
	}()
	return nil
}

// freePort is a port that nobody listens on now.
func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// await returns when the broker accepts a client.
func (s *server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := greet(ctx, s.address)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-s.ended:
			return errors.New("it ended at once")
		case <-time.After(retryAfter):
		}
	}
}

// greet connects as a client and leaves.
func greet(ctx context.Context, address string) error {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		return err
	}
	if _, err := c.Write(hello{version: 4, id: "hello", clean: true}.append(nil)); err != nil {
		return err
	}
	var connack [4]byte
	if _, err := io.ReadFull(c, connack[:]); err != nil {
		return err
	}
	if connack != [4]byte{connackByte, 2, 0, 0} {
		return fmt.Errorf("answer to CONNECT is %#x", connack)
	}
	_, err = c.Write(appendDisconnect(nil))
	return err
}

// stop ends the process, in order if it can, and removes its files.
func (s *server) stop() error {
	defer os.RemoveAll(s.folder)
	_ = s.command.Process.Signal(syscall.SIGTERM) // fails if it has ended, which is as good
	select {
	case <-s.ended:
		return nil
	case <-time.After(stopTimeout):
	}
	if err := s.command.Process.Kill(); err != nil {
		return err
	}
	<-s.ended
	return fmt.Errorf("it did not end within %v of SIGTERM and was killed", stopTimeout)
}

// words is what a broker that has ended wrote, as an error.
func (s *server) words() error {
	if s.said.Len() == 0 {
		return nil
	}
	return fmt.Errorf("it wrote: %s", bytes.TrimSpace(s.said.Bytes()))
}
