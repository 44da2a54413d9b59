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
	broker      Broker
	address     string
	folder      string // of all its files
	data        string // of what is durable; empty for none
	metrics     string // URL, or empty
	config      string // file
	set         settings
	environment []string // what a case adds to it
	hub         *server  // to which it forwards; nil for none

	command *exec.Cmd
	said    *bytes.Buffer // what it wrote; to be read once it has ended
	ended   chan struct{} // closed when the process is gone
}

const (
	startTimeout = time.Minute // Erlang takes its time, and a full store
	stopTimeout  = time.Minute // mosquitto writes a million messages
	configFile   = "config.yaml"
	retryAfter   = 5 * time.Millisecond
	// inflightMin is what a broker may have on its way to a client that reads a backlog, at least.
	inflightMin = 1000
)

// start starts a broker as a case needs it: for a bridge, another of its kind before it, as the hub.
func start(ctx context.Context, b Broker, k *Case, in string) (*server, error) {
	if k.Options.Scenario != Bridge {
		return startOne(ctx, b, k, nil, in)
	}
	hub, err := startOne(ctx, b, k, nil, in)
	if err != nil {
		return nil, err
	}
	edge, err := startOne(ctx, b, k, hub, in)
	if err != nil {
		return nil, errors.Join(err, hub.stop())
	}
	return edge, nil
}

// startOne starts a broker on a free port and waits until it answers a CONNECT. Its files are in a folder of their own in the one named;
// the system's temporary folder if that is empty.
func startOne(ctx context.Context, b Broker, k *Case, hub *server, in string) (*server, error) {
	folder, err := os.MkdirTemp(in, "penstock-bench-")
	if err == nil {
		folder, err = filepath.Abs(folder) // brokers start in it
	}
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	s := &server{broker: b, folder: folder, said: new(bytes.Buffer), environment: k.Environment, hub: hub}
	if err := errors.Join(s.configure(k), s.launch()); err != nil {
		os.RemoveAll(folder)
		return nil, fmt.Errorf("bench: start %s: %w", b.Name, err)
	}
	if err := s.await(ctx); err != nil {
		stopErr := s.stopOne()
		return nil, fmt.Errorf("bench: start %s: %w", b.Name, errors.Join(err, stopErr, s.wordsOne()))
	}
	return s, nil
}

// configure writes the broker's configuration.
func (s *server) configure(k *Case) error {
	raiseFileLimit()
	o, set := &k.Options, &s.set
	*set = settings{window: o.Window, inflight: o.Window, folder: s.folder, filter: o.Prefix + "/#", channels: k.Channels, version: o.Version}
	if s.hub != nil {
		set.hub = s.hub.address
	}
	if o.Scenario == Backlog {
		set.inflight = max(o.Window, inflightMin)
	}
	if o.Retained > 0 {
		set.window = max(o.Window, keptMax)
	}
	for _, port := range []*int{&set.port, &set.spare} {
		var err error
		if *port, err = freePort(); err != nil {
			return err
		}
	}
	s.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(set.port))
	if err := s.makeFolders(k.Group); err != nil {
		return err
	}
	if s.broker.measures && (s.data != "" || k.Metered) {
		var err error
		if set.metrics, err = freePort(); err != nil {
			return err
		}
		s.metrics = fmt.Sprintf("http://127.0.0.1:%d/metrics", set.metrics)
	}
	s.config = filepath.Join(s.folder, configFile)
	if err := os.WriteFile(s.config, []byte(s.broker.config(*set)), 0o600); err != nil {
		return err
	}
	if s.broker.prepare == nil {
		return nil
	}
	path, err := s.broker.prepare(s.broker.Path, *set)
	s.broker.Path = path
	return err
}

// makeFolders makes the folder for what is durable where a case needs it, and one for what a broker writes all the same.
func (s *server) makeFolders(group string) error {
	if group != Stored {
		return os.Mkdir(s.set.home(), 0o700)
	}
	s.data = filepath.Join(s.folder, "data")
	s.set.data = s.data
	return os.Mkdir(s.data, 0o700)
}

func (s *server) launch() error {
	file, err := filepath.Abs(s.config)
	if err != nil {
		return err
	}
	s.command = exec.Command(s.broker.Path, s.broker.args(file)...)
	s.command.Dir = s.folder
	s.command.Env = append(os.Environ(), s.environment...)
	if s.broker.environment != nil {
		s.command.Env = append(s.command.Env, s.broker.environment(s.set)...)
	}
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

// again ends the process and starts it once more.
func (s *server) again(ctx context.Context, how Ending) (Restarted, error) {
	if how == Killed {
		s.kill()
	} else if err := s.end(); err != nil {
		return Restarted{}, err
	}
	begun := time.Now()
	if err := s.launch(); err != nil {
		return Restarted{}, err
	}
	if err := s.await(ctx); err != nil {
		return Restarted{}, err
	}
	ready := time.Since(begun)
	return Restarted{PIDs: s.pids(), Ready: ready}, nil
}

// pids are the broker's processes.
func (s *server) pids() []int { return family(s.command.Process.Pid) }

// everyone are the processes of the broker and then those of its hub.
func (s *server) everyone() []int {
	if s.hub == nil {
		return s.pids()
	}
	return append(s.pids(), s.hub.pids()...)
}

// kill ends all its processes without a warning.
func (s *server) kill() { s.signal(s.pids(), os.Kill) }

// signal sends a signal to processes and waits until the broker has ended or the time for it is over.
func (s *server) signal(pids []int, what os.Signal) (ended bool) {
	for _, pid := range pids {
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Signal(what) // fails if it has ended, which is as good
		}
	}
	select {
	case <-s.ended:
		return true
	case <-time.After(stopTimeout):
		return false
	}
}

// end ends the process, in order if it can. Those that it started may not end with it, so they are told, too.
func (s *server) end() error {
	pids := s.pids()
	if s.signal(pids, syscall.SIGTERM) {
		return nil
	}
	s.signal(pids, os.Kill)
	return fmt.Errorf("it did not end within %v of SIGTERM and was killed", stopTimeout)
}

// stop ends the broker and then its hub, and removes their files.
func (s *server) stop() error {
	err := s.stopOne()
	if s.hub != nil {
		err = errors.Join(err, s.hub.stop())
	}
	return err
}

func (s *server) stopOne() error {
	defer os.RemoveAll(s.folder)
	return s.end()
}

// words is what a broker and its hub wrote, once both have ended, as an error.
func (s *server) words() error {
	if s.hub == nil {
		return s.wordsOne()
	}
	return errors.Join(s.wordsOne(), s.hub.wordsOne())
}

func (s *server) wordsOne() error {
	if s.said.Len() == 0 {
		return nil
	}
	return fmt.Errorf("it wrote: %s", bytes.TrimSpace(s.said.Bytes()))
}
