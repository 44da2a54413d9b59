package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A powercut is a host whose broker loses, when it is ended, what it had not fsynced. Each start finds a
// new folder with what was left.
type powercut struct {
	*process
	// Fixed when it is made.
	command func(folder string) *exec.Cmd
	top     string
	rng     *rand.Rand

	folder string // of the broker that runs
	count  int
	watch  *watch
	disk   *disk
}

func newPowercut(top string, seed uint64, command func(folder string) *exec.Cmd) *powercut {
	return &powercut{process: newProcess(nil), command: command, top: top, rng: rand.New(rand.NewPCG(seed, 1)), folder: filepath.Join(top, "0")}
}

func (p *powercut) launch() (err error) {
	if err := os.MkdirAll(p.folder, 0o700); err != nil {
		return err
	}
	if p.disk, err = newDisk(p.folder); err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	p.process.command = func() *exec.Cmd { return watched(p.command(p.folder), theirs) }
	err = p.process.launch()
	if err := errors.Join(err, theirs.Close()); err != nil {
		return err
	}
	listener, err := receiveListener(ours)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.said())
	}
	p.watch = newWatch(p.disk, listener)
	return nil
}

// watched has this program start the command under a watch.
func watched(c *exec.Cmd, theirs *os.File) *exec.Cmd {
	start := exec.Command(os.Args[0], c.Args...)
	start.Args[1] = c.Path
	start.Env = append(c.Environ(), watchVariable+"=1")
	start.ExtraFiles = []*os.File{theirs}
	return start
}

// kill ends the broker and makes the folder that the next one finds.
func (p *powercut) kill() error {
	p.watch.killed.Store(true)
	if err := p.process.kill(); err != nil {
		return err
	}
	<-p.watch.ended
	if p.watch.err != nil {
		return fmt.Errorf("watching: %w", p.watch.err)
	}
	old := p.folder
	p.count++
	p.folder = filepath.Join(p.top, fmt.Sprint(p.count))
	if err := p.disk.cut(p.folder, newLuck(p.rng)); err != nil {
		return fmt.Errorf("power cut: %w", err)
	}
	return errors.Join(p.disk.close(), os.RemoveAll(old))
}
