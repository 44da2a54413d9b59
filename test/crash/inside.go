package crash

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"github.com/penstockmq/penstock/broker"
	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// An inside is a host whose broker runs in this process, so that the race detector sees it. Its kill cuts
// the broker off from its clients and its store; what it does after that nobody can know of.
type inside struct {
	// Fixed when it is made.
	open func() (storage.Store, error) // the records there are, again

	current *incarnation
	failed  chan error
}

// An incarnation is one life of the broker.
type incarnation struct {
	broker   *broker.Broker
	listener net.Listener
	accept   sync.WaitGroup
	store    *severed
	cut      atomic.Bool
}

func newInside(open func() (storage.Store, error)) *inside {
	return &inside{open: open, failed: make(chan error, 1)}
}

func (h *inside) launch() error {
	store, err := h.open()
	if err != nil {
		return err
	}
	i := &incarnation{}
	i.store = &severed{Store: store, cut: &i.cut}
	i.broker, err = broker.New(broker.Options{
		Limits: configs.Default().Limits, Store: i.store, Hooks: []hooks.Hook{anybody{}}, Log: slog.New(slog.DiscardHandler), Version: "test",
	})
	if err != nil {
		return errors.Join(err, store.Close())
	}
	if i.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	i.accept.Go(i.serve)
	h.current = i
	return nil
}

func (i *incarnation) serve() {
	for {
		nc, err := i.listener.Accept()
		if err != nil {
			return
		}
		i.broker.Attach(&severable{Conn: nc, cut: &i.cut}, listener.Peer{Listener: "test", Remote: nc.RemoteAddr()})
	}
}

func (h *inside) ready() (string, error) { return h.current.listener.Addr().String(), nil }

func (h *inside) kill() error {
	i := h.current
	i.cut.Store(true)
	select {
	case err := <-i.broker.Fatal():
		return fmt.Errorf("the broker gave up: %w", err)
	default:
	}
	err := i.listener.Close()
	i.accept.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(err, i.broker.Shutdown(ctx))
}

func (h *inside) said() string        { return "" }
func (h *inside) ended() <-chan error { return h.failed }

// anybody lets every client in.
type anybody struct{}

// Name implements hooks.Hook.
func (anybody) Name() string { return "anybody" }

// Authenticate implements hooks.Authenticator.
func (anybody) Authenticate(context.Context, *hooks.Client, hooks.Credentials) hooks.Decision {
	return hooks.Decision{Verdict: hooks.Allow}
}

// severable is a connection over which nothing leaves the broker once it is cut.
type severable struct {
	net.Conn
	cut *atomic.Bool
}

// Write implements net.Conn.
func (c *severable) Write(b []byte) (int, error) {
	if c.cut.Load() {
		return 0, errors.Join(net.ErrClosed, c.Close())
	}
	return c.Conn.Write(b)
}

// severed is a store that takes nothing once it is cut, and says no word.
type severed struct {
	storage.Store
	cut *atomic.Bool
}

// Enqueue implements storage.Store.
func (s *severed) Enqueue(e *storage.Enqueue, w storage.Waiter) (bool, error) {
	if s.cut.Load() {
		return true, nil
	}
	return s.Store.Enqueue(e, w)
}

// Update implements storage.Store.
func (s *severed) Update(changes []storage.Change, w storage.Waiter) (bool, error) {
	if s.cut.Load() {
		return w != nil, nil
	}
	return s.Store.Update(changes, w)
}

// Ack implements storage.Store.
func (s *severed) Ack(a storage.Ack, w storage.Waiter) (bool, error) {
	if s.cut.Load() {
		return w != nil, nil
	}
	return s.Store.Ack(a, w)
}

// Read implements storage.Store.
func (s *severed) Read(
	session string, from uint64, limit storage.ReadLimit, visit func(storage.Entry, storage.Progress, *packet.Message) bool,
) error {
	if s.cut.Load() {
		return nil
	}
	return s.Store.Read(session, from, limit, visit)
}
