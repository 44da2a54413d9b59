package bridge

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/penstockmq/penstock/test/setting"
)

// A network is a switch with a cable to each of some hosts: network namespaces of their own, gone when the test ends.
type network struct {
	t      *testing.T
	prefix string
	hosts  int
	told   bool // that there is no netem
}

// run runs ip or tc.
func (n *network) run(args ...string) error {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (n *network) must(args ...string) {
	n.t.Helper()
	if err := n.run(args...); err != nil {
		n.t.Fatal(err)
	}
}

func (n *network) host(i int) string    { return fmt.Sprintf("%s-h%d", n.prefix, i) }
func (n *network) hub() string          { return n.prefix + "-sw" }
func (n *network) address(i int) string { return fmt.Sprintf("10.77.0.%d", i+1) }
func (n *network) cable(i int) string   { return fmt.Sprintf("c%d", i) }

// newNetwork skips the test where namespaces cannot be made.
func newNetwork(t *testing.T, hosts int) *network {
	t.Helper()
	n := &network{t: t, prefix: fmt.Sprintf("pst%d", os.Getpid()%100_000), hosts: hosts}
	for _, tool := range []string{"ip", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("iproute2 is not installed: %v", err)
		}
	}
	if err := n.run("ip", "netns", "add", n.hub()); err != nil {
		t.Skipf("network namespaces are not permitted here: %v", err)
	}
	t.Cleanup(func() {
		for i := range hosts {
			_ = n.run("ip", "netns", "del", n.host(i)) // it may not have been made
		}
		n.must("ip", "netns", "del", n.hub())
	})
	n.must("ip", "-n", n.hub(), "link", "add", "br0", "type", "bridge")
	n.must("ip", "-n", n.hub(), "link", "set", "br0", "up")
	for i := range hosts {
		n.must("ip", "netns", "add", n.host(i))
		n.must("ip", "-n", n.hub(), "link", "add", n.cable(i), "type", "veth", "peer", "name", "eth0", "netns", n.host(i))
		n.must("ip", "-n", n.hub(), "link", "set", n.cable(i), "master", "br0", "up")
		n.must("ip", "-n", n.host(i), "address", "add", n.address(i)+"/24", "dev", "eth0")
		n.must("ip", "-n", n.host(i), "link", "set", "eth0", "up")
		n.must("ip", "-n", n.host(i), "link", "set", "lo", "up")
	}
	return n
}

// dialIn dials from inside a host.
func (n *network) dialIn(i int) dialer {
	return func(address string) (c net.Conn, err error) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			f, openErr := os.Open("/var/run/netns/" + n.host(i))
			if err = openErr; err != nil {
				return
			}
			defer f.Close()
			if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
				return
			}
			c, err = dialHere(address)
		}()
		<-done
		return c, err
	}
}

// shape makes a cable slow or lossy; without words it heals.
func (n *network) shape(i int, netem ...string) error {
	_ = n.run("tc", "-n", n.hub(), "qdisc", "del", "dev", n.cable(i), "root") // it may have none
	if len(netem) == 0 {
		return nil
	}
	return n.run(append([]string{"tc", "-n", n.hub(), "qdisc", "add", "dev", n.cable(i), "root", "netem"}, netem...)...)
}

func (n *network) plug(i int, state string) {
	n.must("ip", "-n", n.hub(), "link", "set", n.cable(i), state)
}

// flap pulls a cable for moments: what netem would do to it, on a kernel without netem.
func (n *network) flap(i int, why error) {
	if !n.told {
		n.told = true
		n.t.Logf("a cable that is pulled for moments instead: %v", why)
	}
	for range 5 {
		n.plug(i, "down")
		pause(40 * time.Millisecond)
		n.plug(i, "up")
		pause(60 * time.Millisecond)
	}
}

// Three brokers on hosts of their own, each bridging to the others: cables are pulled, slow and lossy, and then whole. Every
// message that was acknowledged arrives at every broker, in order and once.
func TestThreeHosts(t *testing.T) {
	n := newNetwork(t, 3)
	random := setting.Random(t)
	brokers := make([]*process, n.hosts)
	for i := range brokers {
		brokers[i] = startProcess(t, &process{
			name: n.host(i), prefix: []string{"ip", "netns", "exec", n.host(i)}, dialer: n.dialIn(i),
			address: n.address(i) + ":1883", admin: n.address(i) + ":9883",
		}, n.bridges(i))
	}
	for _, b := range brokers {
		b.reachable()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var collecting sync.WaitGroup
	defer collecting.Wait()
	defer cancel()
	collectors := make([]*collector, n.hosts)
	for i := range collectors {
		collectors[i] = newCollector(brokers[i].address, "collector", "load/#")
		collectors[i].dialer = n.dialIn(i)
		subscribed := make(chan struct{})
		collecting.Go(func() { collectors[i].run(ctx, subscribed) })
		<-subscribed
	}
	n.warmUp(brokers, collectors)
	publishing, stop := context.WithCancel(ctx)
	var busy sync.WaitGroup
	sides := make([]*side, n.hosts)
	for i := range sides {
		sides[i] = newSide(brokers[i], fmt.Sprintf("load/%d", i), nil)
		for k := range sides[i].acked {
			busy.Go(func() { sides[i].publish(publishing, t, k) })
		}
	}
	for k := range setting.Count(t, "FAULTS", faultsDefault) {
		i := random.IntN(n.hosts)
		var err error
		switch k % 3 {
		case 0:
			n.plug(i, "down")
		case 1:
			err = n.shape(i, "delay", "40ms", "20ms")
		case 2:
			err = n.shape(i, "loss", "10%")
		}
		if err != nil {
			n.flap(i, err)
		}
		pause(time.Duration(100+random.IntN(2500)) * time.Millisecond)
		n.plug(i, "up")
		if err := n.shape(i); err != nil {
			t.Fatal(err)
		}
		pause(time.Duration(100+random.IntN(500)) * time.Millisecond)
	}
	stop()
	busy.Wait()
	for at, c := range collectors {
		for _, s := range sides {
			s.collector = c
			t.Logf("at %s:", n.host(at))
			s.check(t)
		}
	}
}

// bridges are those of one host to all others.
func (n *network) bridges(i int) string {
	text := "bridges:\n"
	for k := range n.hosts {
		if k != i {
			text += fmt.Sprintf("  - {name: to%d, address: 'tcp://%s:1883', client_id: from%d, keep_alive: 1s, answer_timeout: 2s, retry_min: 50ms, retry_max: 500ms, "+
				"topics: [{filter: '#', direction: both}]}\n", k, n.address(k), i)
		}
	}
	return text
}

// warmUp waits until every broker hears every other: before its first connection a bridge has no session there.
func (n *network) warmUp(brokers []*process, collectors []*collector) {
	n.t.Helper()
	await(n.t, "all bridges connected", func() bool {
		for i, b := range brokers {
			w := wire{address: b.address, id: "warm-up", dialer: b.dialer}
			name := fmt.Sprintf("load/warm%d", i)
			if err := w.publish(context.Background(), name, 1, "warm", 1); err != nil {
				n.t.Fatal(err)
			}
			w.close()
			for _, c := range collectors {
				if c.last(name) == "" {
					return false
				}
			}
		}
		return true
	})
}
