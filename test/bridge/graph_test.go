package bridge

import (
	"fmt"
	"slices"
	"testing"

	"github.com/penstockmq/penstock/configs"
)

// A graph names its brokers, and lists its links as pairs: the first bridges to the second.
type graph struct {
	name  string
	nodes int
	links [][2]int
}

var graphs = []graph{
	{"one link", 2, [][2]int{{0, 1}}},
	{"two links in parallel", 2, [][2]int{{0, 1}, {0, 1}}},
	{"two links against each other", 2, [][2]int{{0, 1}, {1, 0}}},
	{"a ring of three", 3, [][2]int{{0, 1}, {1, 2}, {2, 0}}},
	{"a hub with three edges", 4, [][2]int{{1, 0}, {2, 0}, {3, 0}}},
	{"a full mesh of four", 4, [][2]int{{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}}},
	{"a mesh of four in which all bridge to all", 4, [][2]int{
		{0, 1}, {1, 0}, {0, 2}, {2, 0}, {0, 3}, {3, 0}, {1, 2}, {2, 1}, {1, 3}, {3, 1}, {2, 3}, {3, 2},
	}},
}

// Whatever the graph, with both directions on #, every message arrives once at every broker.
func TestEveryMessageArrivesOnceAtEveryBroker(t *testing.T) {
	for _, g := range graphs {
		for _, version := range []string{configs.Version5, configs.Version311} {
			t.Run(g.name+", "+version, func(t *testing.T) { testGraph(t, g, version) })
		}
	}
}

const graphMessages = 50

func testGraph(t *testing.T, g graph, version string) {
	nodes := startGraph(t, g, version)
	users := make([]*user, len(nodes))
	for i, n := range nodes {
		users[i] = connect(t, n.address, fmt.Sprintf("user-%d", i))
		users[i].subscribe("room/#", 1)
	}
	var want []string
	for k := range graphMessages {
		for i, u := range users {
			u.publish(fmt.Sprintf("room/%d", i), fmt.Sprint(k), byte(k%3))
			want = append(want, fmt.Sprintf("room/%d %d", i, k))
		}
	}
	settle(t, nodes, users, len(want))
	slices.Sort(want)
	for i, u := range users {
		got := u.received()
		checkOrder(t, i, got)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("at broker %d: missing %q, too many %q", i, without(want, got), without(got, want))
		}
	}
}

// startGraph starts the brokers and waits for the links. Listeners come first: a bridge that finds nobody would wait.
func startGraph(t *testing.T, g graph, version string) []*node {
	nodes := make([]*node, g.nodes)
	for i := range nodes {
		nodes[i] = startNode(t, fmt.Sprintf("n%d", i))
	}
	for k, l := range g.links {
		b := bridgeTo(fmt.Sprintf("link%d", k), nodes[l[1]].address, rule("#", configs.DirectionBoth))
		b.Version = version
		b.ClientID = fmt.Sprintf("bridge-%d", k)
		nodes[l[0]].bridges = append(nodes[l[0]].bridges, b)
	}
	for _, n := range nodes {
		if err := n.hook.Reload(n.bridges); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		n.connected()
	}
	return nodes
}

// settle waits until every message arrived, and nothing moves any more: a last message of each went everywhere.
func settle(t *testing.T, nodes []*node, users []*user, n int) {
	for _, u := range users {
		u.wants(n)
	}
	for _, n := range nodes {
		for _, b := range n.bridges {
			n.await("queue of "+b.Name+" empty", func() bool { return n.status(b.Name).QueueMessages == 0 })
		}
	}
	probes := make([]*user, len(nodes))
	for i, n := range nodes {
		probes[i] = connect(t, n.address, fmt.Sprintf("probe-%d", i))
		probes[i].subscribe("probe", 1)
	}
	for i, p := range probes {
		p.publish("probe", fmt.Sprint(i), 1)
	}
	for _, p := range probes {
		p.wants(len(probes))
	}
}

// checkOrder wants each publisher's messages of one QoS in order.
func checkOrder(t *testing.T, at int, got []string) {
	last := map[string]int{}
	for _, line := range got {
		var from, k int
		if _, err := fmt.Sscanf(line, "room/%d %d", &from, &k); err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprint(from, "/", k%3 == 0)
		if before, ok := last[key]; ok && k < before {
			t.Errorf("at broker %d: %d of %d after %d", at, k, from, before)
		}
		last[key] = max(k, last[key])
	}
}

// without are the lines of a that are not in b, each as often as it is missing.
func without(a, b []string) (left []string) {
	count := map[string]int{}
	for _, line := range b {
		count[line]++
	}
	for _, line := range a {
		if count[line]--; count[line] < 0 {
			left = append(left, line)
		}
	}
	return left
}
