package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/penstockmq/penstock/admin"
	"github.com/penstockmq/penstock/bridge"
	"github.com/penstockmq/penstock/broker"
	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/hooks/channel"
	"github.com/penstockmq/penstock/storage/badger"
)

// errSecondSignal ends the program when an orderly end takes too long for somebody.
var errSecondSignal = errors.New("second signal: ended at once")

// A source is where the configuration comes from, now and on SIGHUP.
type source struct {
	file   string
	flags  []configs.Flag
	faults badger.Faults // tests make the disk fail
}

// A server is the broker with everything around it.
type server struct {
	// Fixed when openServer returns.
	source    source
	log       *slog.Logger
	level     *slog.LevelVar
	access    *access
	channels  *channel.Channels
	bridges   *bridge.Hook
	broker    *broker.Broker
	listeners []listener.Listener
	admin     *admin.Server // nil if it is turned off
	serving   sync.WaitGroup
	failed    chan error // a listener ended by itself

	config configs.Config // as it is in force; only run touches it
}

// serve runs a broker until a signal, the end of ctx or a failure.
func serve(ctx context.Context, src source, signals <-chan os.Signal, stderr io.Writer) error {
	cfg, err := configs.Load(src.file, src.flags)
	if err != nil {
		return err
	}
	s, err := openServer(src, cfg, stderr)
	if err != nil {
		return err
	}
	return s.run(ctx, signals)
}

// openServer opens everything there is, so that what cannot be opened is known before a client is served.
func openServer(src source, cfg configs.Config, stderr io.Writer) (s *server, err error) {
	s = &server{source: src, config: cfg}
	s.log, s.level = newLog(cfg.Log, stderr)
	if s.access, err = openAccess(&cfg); err != nil {
		return nil, usageError{err}
	}
	refused := newRefusals()
	defer func() {
		if err != nil {
			s.abandon()
		}
	}()
	for _, l := range cfg.Listeners {
		opened, err := listener.Open(l, listener.Options{
			Log: s.log, ConnectTimeout: cfg.Limits.ConnectTimeout, MaxPacketSize: cfg.Limits.MaxPacketSize, Refused: refused.count,
		})
		if err != nil {
			return s, explain(err, l.Address)
		}
		s.listeners = append(s.listeners, opened)
	}
	s.failed = make(chan error, len(s.listeners))
	defer collectSeldom()()
	store, err := openStore(cfg.Storage, src.faults, s.log)
	if err != nil {
		return s, err
	}
	s.channels = channel.New(channel.Options{Channels: cfg.Channels, Limits: cfg.Limits, SysInterval: cfg.Sys.Interval, Log: s.log})
	s.bridges = bridge.New(bridge.Options{
		Bridges: cfg.Bridges, PacketMax: cfg.Limits.MaxPacketSize, SysInterval: cfg.Sys.Interval, Log: s.log,
	})
	if s.broker, err = broker.New(broker.Options{
		Limits: cfg.Limits, HideReasons: cfg.Auth.HideReasons, SysInterval: cfg.Sys.Interval,
		Store: store.Store, Hooks: append([]hooks.Hook{s.channels, s.bridges}, s.access.hooks...), Log: s.log, Version: buildVersion(),
	}); err != nil {
		return s, errors.Join(explainStore(err), store.Close())
	}
	store.announce(s.broker, s.log)
	refused.broker = s.broker
	if cfg.Admin.Address != "" {
		if s.admin, err = admin.Open(cfg.Admin, refused, store.operated(), s.log); err != nil {
			return s, explain(err, cfg.Admin.Address)
		}
		s.admin.ServeBridges(bridges{s.bridges})
		s.admin.ServeChannels(operatedChannels{s.channels})
	}
	return s, nil
}

// explain says what to do about an address that somebody else has.
func explain(err error, address string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: another program listens at %s", err, address)
	}
	return err
}

// abandon closes what openServer had opened.
func (s *server) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), s.config.Limits.ShutdownTimeout)
	defer cancel()
	if err := s.shutdown(ctx); err != nil {
		s.log.Error("not closed", "err", err)
	}
}

// run serves until a signal, the end of ctx or a failure, and ends in order.
func (s *server) run(ctx context.Context, signals <-chan os.Signal) error {
	defer runtime.KeepAlive(make([]byte, heapFloor))
	s.start()
	for {
		select {
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				s.reload()
				continue
			}
			s.log.Info("stopping", "reason", sig.String())
			return s.stop(signals)
		case <-ctx.Done():
			return s.stop(signals)
		case err := <-s.broker.Fatal():
			return s.fail(err, signals)
		case err := <-s.failed:
			return errors.Join(err, s.stop(signals))
		}
	}
}

// fail ends the broker when its store did: it cannot keep a promise any more.
func (s *server) fail(cause error, signals <-chan os.Signal) error {
	s.log.Error("stopping", "reason", "the store failed", "err", cause) // once, however many writes it failed
	err := s.stop(signals)
	if errors.Is(err, cause) { // closing the store says it again
		err = nil
	}
	return errors.Join(fmt.Errorf("the store failed, and nothing was acknowledged since: %w", cause), err)
}

func (s *server) start() {
	for i, l := range s.listeners {
		s.serving.Go(func() {
			if err := l.Serve(s.broker.Attach); err != nil {
				s.failed <- fmt.Errorf("listener %s: %w", l.Name(), err)
			}
		})
		s.log.Info("listening", "name", l.Name(), "type", s.config.Listeners[i].Type, "address", display(s.config.Listeners[i], l.Addr()))
	}
	s.bridges.Run()
	if s.admin != nil {
		s.admin.SetReady(true)
		s.log.Info("listening", "name", "admin", "type", "http", "address", s.admin.Addr().String())
	}
	s.log.Info("ready", "version", buildVersion(), "pid", os.Getpid())
}

// display is a listener's address, with the path for WebSocket.
func display(cfg configs.Listener, addr net.Addr) string {
	if strings.HasPrefix(cfg.Type, "ws") {
		return addr.String() + cfg.Path
	}
	return addr.String()
}

// stop ends in order within limits.shutdown_timeout, or at once on another signal.
func (s *server) stop(signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.config.Limits.ShutdownTimeout)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- s.shutdown(ctx) }() // left behind only when the process ends with it
	for {
		select {
		case err := <-stopped:
			if errors.Is(err, context.DeadlineExceeded) {
				s.log.Warn("not everything was sent in time", "err", err)
				err = nil
			}
			s.log.Info("stopped")
			return err
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				return errSecondSignal
			}
		}
	}
}

// shutdown ends what was opened: listeners first, so that nobody comes, then the broker, the HTTP side last.
func (s *server) shutdown(ctx context.Context) error {
	var errs []error
	if s.admin != nil {
		s.admin.SetReady(false)
		s.admin.Interrupt()
	}
	for _, l := range s.listeners {
		errs = append(errs, l.Close())
	}
	s.serving.Wait()
	if s.broker != nil {
		errs = append(errs, s.broker.Shutdown(ctx))
	}
	if s.admin != nil {
		errs = append(errs, s.admin.Close(ctx))
	}
	return errors.Join(errs...)
}
