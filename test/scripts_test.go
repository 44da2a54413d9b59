// Package test holds the tests of the whole broker: scripts of what clients send, with what they must receive.
//
// It holds no rule of the protocol and no code but the few lines that start a broker for package script, whose
// language is described there; each promise is a file in a folder of scripts, named after it and citing the statements it comes
// from. To change what is expected on purpose: go test ./test -rewrite, then read the difference.
package test

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/penstockmq/penstock/broker"
	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/test/script"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts bring about into their files")

// TestScripts plays every script against the broker, with a goroutine for each connection.
func TestScripts(t *testing.T) { script.Run(t, "scripts", *rewrite, starter(false)) }

// TestScriptsOnAnEventLoop plays them again, with all connections on event loops.
func TestScriptsOnAnEventLoop(t *testing.T) { script.Run(t, "scripts", false, starter(true)) }

// attached is the broker as the scripts see it.
type attached struct{ broker *broker.Broker }

// starter makes what starts a broker for one script.
func starter(loopAll bool) func(*testing.T, script.Setup) (script.Target, error) {
	return func(_ *testing.T, s script.Setup) (script.Target, error) {
		b, err := broker.New(broker.Options{
			Limits: s.Limits, HideReasons: s.HideReasons, SysInterval: s.SysInterval, Store: s.Store, Hooks: s.Hooks,
			Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Version: "test", LoopAll: loopAll,
		})
		if err != nil {
			return nil, err
		}
		return attached{b}, nil
	}
}

func (a attached) Attach(server net.Conn) {
	a.broker.Attach(server, listener.Peer{Listener: "test", Remote: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}})
}

func (a attached) Shutdown(ctx context.Context) error { return a.broker.Shutdown(ctx) }
