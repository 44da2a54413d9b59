package script

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/hooks/channel"
	"github.com/penstockmq/penstock/storage/memory"
)

// A player plays one script, once.
type player struct {
	start   func(Setup) (Target, error)
	version byte

	setup   Setup
	begun   bool // the broker has been started once: no more setup
	target  Target
	disk    *memory.Store     // what the broker's store is a handle of
	store   *gate             // what stands between them
	queues  *channel.Channels // nil without a line that declares one
	rules   *rules
	clients map[string]*client
	lines   []string // collected in this block

	mu       sync.Mutex
	assigned []string // client identifiers that the broker made up
}

// Play plays the script with one protocol version against what start starts, and returns the output of each
// block. It must be called inside a synctest bubble. An error is a mistake in the script, with its line number.
func Play(s *Script, version byte, start func(Setup) (Target, error)) (got [][]string, err error) {
	p := &player{
		start: start, version: version, clients: map[string]*client{}, disk: memory.New(), rules: &rules{},
		setup: Setup{Limits: configs.Default().Limits},
	}
	defer func() { err = errors.Join(err, p.end()) }()
	for _, b := range s.blocks {
		p.lines = []string{}
		for i, line := range b.source {
			if err := p.play(line); err != nil {
				return nil, fmt.Errorf("%d: %s: %w", b.first+i, line, err)
			}
		}
		got = append(got, p.lines)
	}
	return got, nil
}

// play plays one line and collects what it brought about.
func (p *player) play(line string) error {
	list, err := words(line)
	if err != nil || len(list) == 0 || strings.HasPrefix(line, "#") || list[0] == "use" {
		return err
	}
	if err := p.step(list); err != nil {
		return err
	}
	p.settle()
	return nil
}

func (p *player) step(list []string) error {
	switch list[0] {
	case "config", "user", "acl", "hook", "channel":
		return p.configure(list[0], newOptions(list[1:]))
	case "broker":
		return p.broker(newOptions(list[1:]))
	case "store":
		return p.storeStep(newOptions(list[1:]))
	case "wait":
		return p.wait(newOptions(list[1:]))
	}
	if len(list) < 2 {
		return fmt.Errorf("what should %s do?", list[0])
	}
	if err := p.ready(); err != nil {
		return err
	}
	c := p.clients[list[0]]
	if c == nil {
		c = &client{name: list[0], player: p}
		p.clients[c.name] = c
	}
	return c.step(list[1], list[2:])
}

// versionOf is the version that the options name, or the one the script is played with.
func (p *player) versionOf(o *options) byte {
	for v := byte(3); v <= 5; v++ {
		if o.flag(fmt.Sprintf("v%d", v)) {
			return v
		}
	}
	return p.version
}

func (p *player) wait(o *options) error {
	d, err := time.ParseDuration(o.next("duration"))
	if err != nil {
		return err
	}
	if err := p.ready(); err != nil {
		return err
	}
	<-time.After(d)
	return o.done()
}

// settle waits until nothing moves any more and collects what arrived, by name of the client.
func (p *player) settle() {
	synctest.Wait()
	for _, line := range p.rules.collect() {
		p.lines = append(p.lines, "broker < "+line)
	}
	for _, name := range slices.Sorted(maps.Keys(p.clients)) {
		for _, line := range p.clients[name].collect() {
			p.lines = append(p.lines, name+" < "+line)
		}
	}
}

// ready starts the broker if it does not run yet.
func (p *player) ready() error {
	if p.begun {
		return nil
	}
	p.begun = true
	return p.open()
}

func (p *player) open() (err error) {
	p.disk = p.disk.Reopen()
	p.store = newGate(p.disk)
	setup := p.setup
	setup.Store = p.store
	setup.Hooks = p.rules.hooks()
	if p.queues = nil; len(setup.Channels) > 0 {
		p.queues = channel.New(channel.Options{
			Channels: setup.Channels, Limits: setup.Limits, SysInterval: setup.SysInterval, Log: slog.New(slog.DiscardHandler),
		})
		setup.Hooks = append([]hooks.Hook{p.queues}, setup.Hooks...)
	}
	p.target, err = p.start(setup)
	if err != nil {
		return fmt.Errorf("starting the broker: %w", err)
	}
	synctest.Wait()
	return nil
}

// dial opens a connection to the broker.
func (p *player) dial() net.Conn {
	near, far := net.Pipe()
	if p.target == nil { // stopped
		far.Close()
		return near
	}
	p.target.Attach(far)
	return near
}

// stop ends the broker as an operator would.
func (p *player) stop() error {
	if p.target == nil {
		return nil
	}
	target := p.target
	p.target = nil
	ctx, cancel := context.WithTimeout(context.Background(), p.setup.Limits.ShutdownTimeout)
	defer cancel()
	if err := target.Shutdown(ctx); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	return p.store.Close()
}

// end closes everything that the script has opened. The broker must then end in order.
func (p *player) end() error {
	if p.store != nil {
		p.store.release()
	}
	for _, c := range p.clients {
		c.close()
	}
	synctest.Wait()
	return p.stop()
}

// nameAssigned is what stands in the output for an identifier that the broker made up.
func (p *player) nameAssigned(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := slices.Index(p.assigned, id)
	if at < 0 {
		at = len(p.assigned)
		p.assigned = append(p.assigned, id)
	}
	return fmt.Sprintf("#%d", at+1)
}

// identifier is the client identifier that a script means: #1 is the first that the broker made up.
func (p *player) identifier(s string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if number, ok := strings.CutPrefix(s, "#"); ok {
		if n, err := strconv.Atoi(number); err == nil && n > 0 && n <= len(p.assigned) {
			return p.assigned[n-1]
		}
	}
	return s
}
