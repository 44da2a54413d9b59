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

// A server is a broker that runs.
type server struct {
	// Fixed when start returns.
	broker  Broker
	address string
	folder  string // of all its files
	data    string // of what is durable; empty for none
	metrics string // URL, or empty
	config  string // file

	command *exec.Cmd
	said    *bytes.Buffer // what it wrote; to be read once it has ended
	ended   chan struct{} // closed when the process is gone
}

const (
	startTimeout = 15 * time.Second
	stopTimeout  = 10 * time.Second
	retryAfter   = 5 * time.Millisecond
	// inflightMin is what a broker may have on its way to a client that reads a backlog, at least.
	inflightMin = 1000
)

// start starts a broker on a free port, as a case needs it, and waits until it answers a CONNECT. Its files are in a folder of their own
// in the one named; the system's temporary folder if that is empty.
func start(ctx context.Context, b Broker, k *Case, in string) (*server, error) {
	folder, err := os.MkdirTemp(in, "penstock-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	s := &server{broker: b, folder: folder, said: new(bytes.Buffer)}
	if err := errors.Join(s.configure(k), s.launch()); err != nil {
		os.RemoveAll(folder)
		return nil, fmt.Errorf("bench: start %s: %w", b.Name, err)
	}
	if err := s.await(ctx); err != nil {
		stopErr := s.stop()
		return nil, fmt.Errorf("bench: start %s: %w", b.Name, errors.Join(err, stopErr, s.words()))
	}
	return s, nil
}

// configure writes the broker's configuration.
func (s *server) configure(k *Case) error {
	raiseFileLimit()
	o := &k.Options
	set := settings{window: o.Window, inflight: o.Window}
	if o.Scenario == Backlog {
		set.inflight = max(o.Window, inflightMin)
	}
	var err error
	if set.port, err = freePort(); err != nil {
		return err
	}
	s.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(set.port))
	if k.Group == Stored {
		if s.data, err = filepath.Abs(filepath.Join(s.folder, "data")); err != nil {
			return err
		}
		if err := os.Mkdir(s.data, 0o700); err != nil {
			return err
		}
		set.data = s.data
	}
	if s.data != "" && s.broker.measures {
		if set.metrics, err = freePort(); err != nil {
			return err
		}
		s.metrics = fmt.Sprintf("http://127.0.0.1:%d/metrics", set.metrics)
	}
	s.config = filepath.Join(s.folder, "config.yaml")
	return os.WriteFile(s.config, []byte(s.broker.config(set)), 0o600)
}

func (s *server) launch() error {
	file, err := filepath.Abs(s.config)
	if err != nil {
		return err
	}
	s.command = exec.Command(s.broker.Path, s.broker.args(file)...)
	s.command.Dir = s.folder
	s.command.Stdout, s.command.Stderr = s.said, s.said
	if err := s.command.Start(); err != nil {
		return err
	}
	command, ended := s.command, make(chan struct{})
	s.ended = ended
	go func() {
		defer close(ended)
		_ = command.Wait() // how it ended shows in what it said
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

// crash ends the process without a warning and starts it again.
func (s *server) crash(ctx context.Context) (Restarted, error) {
	if err := s.command.Process.Kill(); err != nil {
		return Restarted{}, err
	}
	<-s.ended
	begun := time.Now()
	if err := s.launch(); err != nil {
		return Restarted{}, err
	}
	if err := s.await(ctx); err != nil {
		return Restarted{}, err
	}
	return Restarted{PID: s.command.Process.Pid, Ready: time.Since(begun)}, nil
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
