package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/penstockmq/penstock/broker"
	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/badger"
)

// The environment that makes the test program a broker with a fault.
const (
	faultVariable  = "PENSTOCK_CRASH_FAULT"
	folderVariable = "PENSTOCK_CRASH_FOLDER"
)

// slowCommit is how long a commit takes on a slow disk.
const slowCommit = 30 * time.Millisecond

// faultyCommand makes commands that run this test program as a broker with a fault.
func faultyCommand(folder, fault string) func() *exec.Cmd {
	return func() *exec.Cmd {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), faultVariable+"="+fault, folderVariable+"="+folder)
		return c
	}
}

// serveFaulty runs a broker with the fault that the environment names, until it is killed.
func serveFaulty(stderr io.Writer) error {
	name := os.Getenv(faultVariable)
	for _, f := range append(faults(), none()) {
		if f.name == name {
			return f.serve(os.Getenv(folderVariable), slog.New(slog.NewTextHandler(stderr, nil)), anybody{})
		}
	}
	return fmt.Errorf("no fault is called %q", name)
}

func (f *fault) serve(folder string, log *slog.Logger, chain ...hooks.Hook) error {
	store, err := f.open(folder, log)
	if err != nil {
		return err
	}
	b, err := broker.New(broker.Options{
		Limits: configs.Default().Limits, Store: store, Hooks: chain, Log: log, Version: "faulty",
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	log.Info("listening", "name", "tcp", "address", l.Addr().String())
	log.Info("ready")
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			b.Attach(nc, listener.Peer{Listener: "tcp", Remote: nc.RemoteAddr()})
		}
	}()
	err = <-b.Fatal()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(err, b.Shutdown(ctx))
}

func (f *fault) open(folder string, log *slog.Logger) (storage.Store, error) {
	o := badger.Options{Path: folder, Log: log}
	if f.slow {
		o.Faults.BeforeCommit = func() error { <-time.After(slowCommit); return nil }
	}
	store, err := badger.Open(o)
	if err != nil {
		return nil, err
	}
	return f.wrap(store), nil
}
