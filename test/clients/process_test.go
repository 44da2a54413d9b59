package clients

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/penstockmq/penstock/test/library"
)

// A process is a client of a library in another language: a program of testdata that takes
// requests and gives answers and messages, a line of JSON each.
type process struct {
	version   byte
	transport string
	address   string
	cmd       *exec.Cmd
	requests  io.WriteCloser
	answers   chan answer // closed when the process ends
	inbox     chan message
	killed    sync.Once
}

type request struct {
	Do        string        `json:"do"`
	Version   byte          `json:"version,omitempty"`
	Transport string        `json:"transport,omitempty"`
	Host      string        `json:"host,omitempty"`
	Port      int           `json:"port,omitempty"`
	Options   *options      `json:"options,omitempty"`
	Subscribe *subscription `json:"subscribe,omitempty"`
	Filter    string        `json:"filter,omitempty"`
	Message   *message      `json:"message,omitempty"`
}

type answer struct {
	Done    string   `json:"done"` // what was asked for
	Error   string   `json:"error"`
	Present bool     `json:"present"`
	Message *message `json:"message"` // not an answer: it was received
}

func newPython(t *testing.T, version byte, transport string) client {
	t.Helper()
	p := &process{version: version, transport: transport, address: brokerTCP, cmd: exec.Command(library.Python(t), "testdata/client.py")}
	if transport == "websockets" {
		p.address = brokerWS
	}
	p.start(t)
	return p
}

func newJavaScript(t *testing.T, version byte, transport string) client {
	t.Helper()
	node, modules := library.Node(t)
	p := &process{version: version, transport: transport, address: brokerTCP, cmd: exec.Command(node, "testdata/client.js")}
	p.cmd.Env = append(os.Environ(), modules)
	if transport == "ws" {
		p.address = brokerWS
	}
	p.start(t)
	return p
}

func (p *process) start(t *testing.T) {
	t.Helper()
	p.answers, p.inbox = make(chan answer), make(chan message, inboxMax)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.requests, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.listen(out)
}

// listen sorts what the process says.
func (p *process) listen(out io.Reader) {
	defer close(p.answers)
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			a.Error = fmt.Sprintf("%v: %s", err, line)
		}
		if a.Message != nil {
			p.inbox <- *a.Message
			continue
		}
		p.answers <- a
	}
}

// ask sends a request and waits for its answer.
func (p *process) ask(r request) (answer, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return answer{}, err
	}
	if _, err := p.requests.Write(append(b, '\n')); err != nil {
		return answer{}, err
	}
	select {
	case a, ok := <-p.answers:
		switch {
		case !ok:
			return a, errors.New("the client's process ended")
		case a.Error != "":
			return a, errors.New(a.Error)
		case a.Done != r.Do:
			return a, fmt.Errorf("asked to %s, answered %s", r.Do, a.Done)
		}
		return a, nil
	case <-time.After(patience):
		return answer{}, errPatience
	}
}

func (p *process) connect(o options) (bool, error) {
	host, port, err := net.SplitHostPort(p.address)
	if err != nil {
		return false, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return false, err
	}
	a, err := p.ask(request{Do: "connect", Version: p.version, Transport: p.transport, Host: host, Port: number, Options: &o})
	return a.Present, err
}

func (p *process) subscribe(s subscription) error {
	_, err := p.ask(request{Do: "subscribe", Subscribe: &s})
	return err
}

func (p *process) unsubscribe(filter string) error {
	_, err := p.ask(request{Do: "unsubscribe", Filter: filter})
	return err
}

func (p *process) publish(m message) error {
	_, err := p.ask(request{Do: "publish", Message: &m})
	return err
}

func (p *process) messages() <-chan message { return p.inbox }

func (p *process) disconnect() error {
	_, err := p.ask(request{Do: "disconnect"})
	p.abort()
	return err
}

// abort kills the process: its connection ends as it does when a device loses power.
func (p *process) abort() {
	p.killed.Do(func() {
		_ = p.cmd.Process.Kill()
		for range p.answers { // until listen ends, so that Wait may close its pipe
			continue
		}
		_ = p.cmd.Wait()
	})
}
