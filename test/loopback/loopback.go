// Package loopback has what tests need of this machine's own network: addresses at which nobody listens, and servers of a few
// lines that stand in for a broker.
//
// It speaks no MQTT. It has no nouns, and is tested by the tests that reach its servers, and do not reach its addresses.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
)

const anyPort = "127.0.0.1:0"

// The system gives ports from 32768 on (net.ipv4.ip_local_port_range) to whoever asks for any, and to each connection to
// another address: one of these could be taken while a test has nobody listen there.
const portMin, portMax = 10_000, 32_768 // without portMax

// Free tries one port after the other, round and round, from one at which each process begins elsewhere.
var (
	first = rand.Uint32N(portMax - portMin)
	tried atomic.Uint32
)

// Free is an address, host:port, at which nobody listens now. Nobody is given its port by chance, nor by another call in this
// process until thousands later.
func Free() (string, error) {
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", portMin+(first+tried.Add(1))%(portMax-portMin)))
		if err == nil {
			defer l.Close()
			return l.Addr().String(), nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return "", err
		}
	}
	return "", fmt.Errorf("no port from %d to %d is free", portMin, portMax-1)
}

// FreeAddress is what Free found.
func FreeAddress(t testing.TB) string {
	t.Helper()
	address, err := Free()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// Serve answers each connection with serve, which returns when the connection may close, and returns the address. It takes
// connections until the test ends.
func Serve(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}
