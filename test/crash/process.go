package crash

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// A process is a host whose broker is a program of its own, ended with kill -9. What it had written to its files is kept.
type process struct {
	// Fixed when it is made.
	command func() *exec.Cmd // the broker, serving at a free port, with its log on stderr

	cmd    *exec.Cmd
	up     chan string   // gets the address once the broker is ready
	gone   chan struct{} // closed when the process has ended and its log is read
	failed chan error

	mu     sync.Mutex // guards what follows
	log    []string   // the last lines
	err    error      // of the process, once it is gone
	killed bool
}

// logMax is how many lines of the log are kept.
const logMax = 400

func newProcess(command func() *exec.Cmd) *process {
	return &process{command: command, failed: make(chan error, 1)}
}

func (p *process) launch() error {
	p.cmd = p.command()
	out, err := p.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.up, p.gone = make(chan string, 1), make(chan struct{})
	p.mu.Lock()
	p.killed = false
	p.note(fmt.Sprintf("--- process %d", p.cmd.Process.Pid))
	p.mu.Unlock()
	go p.follow(p.cmd, out)
	return nil
}

// follow reads the log until the process ends.
func (p *process) follow(cmd *exec.Cmd, out io.Reader) {
	defer close(p.gone)
	address := ""
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		p.mu.Lock()
		p.note(line)
		p.mu.Unlock()
		if strings.Contains(line, "msg=listening") && strings.Contains(line, "name=tcp") {
			_, address, _ = strings.Cut(line, "address=")
		}
		if strings.Contains(line, "msg=ready") {
			p.up <- address
		}
	}
	err := cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	if !p.killed {
		p.failed <- fmt.Errorf("the process ended: %w", errors.Join(err, lines.Err()))
	}
}

// note keeps a line of the log. The lock is held.
func (p *process) note(line string) {
	p.log = append(p.log, line)
	p.log = p.log[max(0, len(p.log)-logMax):]
}

func (p *process) ready() (string, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case address := <-p.up:
		return address, nil
	case <-p.gone:
		p.mu.Lock()
		defer p.mu.Unlock()
		return "", fmt.Errorf("the process ended: %w", p.err)
	case <-timer.C:
		return "", errPatience
	}
}

func (p *process) kill() error {
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	<-p.gone
	return nil
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

func (p *process) ended() <-chan error { return p.failed }
