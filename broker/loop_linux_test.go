package broker

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
)

// Plain TCP and Unix sockets are served by a loop unless it is turned off.
func TestSocketsAreServedByALoop(t *testing.T) {
	if driverForTest(t) != "" {
		t.Skip("the driver is chosen for this run")
	}
	b := start(t, setup{})
	here(t, b, packet.V5, hello{id: "tcp"})
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	b.Attach(far, listener.Peer{Listener: "unix", Remote: far.RemoteAddr()})
	(&testClient{t: t, nc: near, v: packet.V5}).connect(hello{id: "unix"})
	for _, id := range []string{"tcp", "unix"} {
		if d, ok := connOf(t, b, id).driver.(*loopDriver); !ok {
			t.Errorf("%s is served by a %T", id, d)
		}
	}
}

// descriptors is how many files this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// Shutdown leaves nothing open, and has told every client.
func TestShutdownLeavesNoDescriptor(t *testing.T) {
	descriptorsOf := func(count int) {
		b := startOnly(t, setup{limits: func(l *configs.Limits) { l.EventLoops = count }})
		var clients []*testClient
		for i := range 20 {
			clients = append(clients, here(t, b, packet.V5, hello{id: fmt.Sprint(i)}))
		}
		read := make(chan struct{})
		go func() {
			defer close(read)
			for _, c := range clients {
				c.wantDisconnect(packet.ServerShuttingDown)
				c.nc.Close()
			}
		}()
		stop(t, b)
		<-read
	}
	descriptorsOf(1) // the runtime opens its own with the first
	before := descriptors(t)
	for _, count := range drivers {
		descriptorsOf(count)
	}
	until(t, "everything is closed", func() bool { return descriptors(t) <= before })
}
