package bridge

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstockmq/penstock/test/loopback"
	"github.com/penstockmq/penstock/test/setting"
)

const (
	backlogDefault = 100_000   // make bridge-backlog: 2 000 000
	backlogMemory  = 250 << 20 // anonymous memory of the edge
)

// A link that is lost for long leaves a long queue: it costs disk and little memory, outlives a restart, and drains in order.
func TestBacklog(t *testing.T) {
	n := setting.Count(t, "BACKLOG", backlogDefault)
	hub := startProcess(t, &process{name: "hub"}, "")
	hub.reachable()
	link := loopback.FreeAddress(t)
	edge := startProcess(t, &process{name: "edge"}, fmt.Sprintf(`bridges:
  - {name: hub, address: "tcp://%s", client_id: edge, retry_min: 50ms, retry_max: 200ms, topics: [{filter: "load/#"}]}
`, link))
	edge.reachable()
	pourAll(t, edge.address, n, 1)
	queued := edge.anonymous(t)
	edge.kill()
	edge.start()
	edge.reachable()
	restarted := edge.anonymous(t)
	sink := &wire{address: hub.address, id: "sink"}
	if err := sink.dial(); err != nil {
		t.Fatal(err)
	}
	defer sink.close()
	begin := time.Now()
	if err := drain(sink, n, func() { startProxyAt(t, link, hub.address) }); err != nil {
		t.Fatal(err)
	}
	t.Logf("drained %.0f messages a second", float64(n)/time.Since(begin).Seconds())
	drained := edge.anonymous(t)
	t.Logf("%d messages: %d MiB queued, %d MiB after a restart, %d MiB drained", n, queued>>20, restarted>>20, drained>>20)
	for what, size := range map[string]int64{"queued": queued, "after a restart": restarted, "drained": drained} {
		if size > backlogMemory {
			t.Errorf("%s: %d MiB of anonymous memory", what, size>>20)
		}
	}
}

// anonymous is the memory of the process that no file holds.
func (p *process) anonymous(t testing.TB) int64 {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no RssAnon")
	return 0
}
