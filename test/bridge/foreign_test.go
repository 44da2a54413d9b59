package bridge

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"
	mochilisteners "github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/bridge"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/test/loopback"
)

// startMosquitto starts Debian's mosquitto with lines added to its configuration.
func startMosquitto(t *testing.T, lines string) (address string) {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			t.Skip("mosquitto is not installed")
		}
	}
	address = loopback.FreeAddress(t)
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %s %s\nallow_anonymous true\nlog_dest stderr\n%s", port, host, lines)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(path, "-c", config)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // killed
		if t.Failed() {
			t.Logf("mosquitto:\n%s", log.String())
		}
	})
	awaitListener(t, address)
	return address
}

func awaitListener(t *testing.T, address string) {
	t.Helper()
	await(t, "a broker at "+address, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// startMochi starts mochi's Server, which may look at what clients do.
func startMochi(t *testing.T, hook mochi.Hook) (address string) {
	t.Helper()
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := s.AddHook(hook, nil); err != nil {
		t.Fatal(err)
	}
	address = loopback.FreeAddress(t)
	if err := s.AddListener(mochilisteners.NewTCP(mochilisteners.Config{ID: "tcp", Address: address})); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	awaitListener(t, address)
	return address
}

// Both directions and every QoS with brokers that others wrote, in both versions.
func TestForeignBrokers(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) string{
		"mosquitto": func(t *testing.T) string { return startMosquitto(t, "") },
		"mochi":     func(t *testing.T) string { return startMochi(t, &choosy{}) },
	} {
		for _, version := range []string{configs.VersionAuto, configs.Version311} {
			t.Run(name+" "+version, func(t *testing.T) { testForeign(t, start(t), version, name == "mosquitto") }) // mochi takes the bit for a version beyond 5
		}
	}
}

func testForeign(t *testing.T, address, version string, bit bool) {
	out, in := rule("up/#", configs.DirectionOut), rule("down/#", configs.DirectionIn)
	out.RemotePrefix, in.LocalPrefix = "site/{client}/", "from/{bridge}/"
	b := bridgeTo("foreign", address, out, in)
	b.Version, b.ClientID, b.StateTopic, b.BridgeBit = version, "edge", "state/{client}", bit
	n := startNode(t, "edge", b)
	n.connected()
	there, here := connect(t, address, "there"), connect(t, n.address, "here")
	there.subscribe("site/#", 2)
	there.subscribe("state/#", 1)
	here.subscribe("from/#", 2)
	for qos := range byte(3) {
		for k := range 20 {
			here.publish(fmt.Sprintf("up/%d", qos), fmt.Sprint(k), qos)
			there.publish(fmt.Sprintf("down/%d", qos), fmt.Sprint(k), qos)
		}
	}
	wantThere, wantHere := []string{"state/edge connected"}, []string{}
	for qos := range 3 {
		for k := range 20 {
			wantThere = append(wantThere, fmt.Sprintf("site/edge/up/%d %d", qos, k))
			wantHere = append(wantHere, fmt.Sprintf("from/foreign/down/%d %d", qos, k))
		}
	}
	for who, c := range map[*user][]string{there: wantThere, here: wantHere} {
		got := slices.Sorted(slices.Values(who.wants(len(c))))
		slices.Sort(c)
		if !slices.Equal(got, c) {
			t.Errorf("got %q, want %q", got, c)
		}
	}
	n.await("queue empty", func() bool { return n.status("foreign").QueueMessages == 0 })
	if s := n.status("foreign"); s.Sent != 60 || s.Received != 60 || s.State != bridge.StateConnected {
		t.Errorf("status %+v", s)
	}
	n.stop()
	there.wants(len(wantThere) + 1)
	if got := there.received(); got[len(got)-1] != "state/edge disconnected" {
		t.Errorf("at last %q", got[len(got)-1])
	}
}

// mosquitto bridges to this broker: it says so with a bit that no specification knows, and hears none of its own messages.
func TestMosquittoAsTheBridge(t *testing.T) {
	n := startNode(t, "hub")
	address := startMosquitto(t, fmt.Sprintf("connection hub\naddress %s\ntopic # both 2\nbridge_protocol_version mqttv311\n"+
		"notifications false\nrestart_timeout 1\ntry_private true\ncleansession false\nclientid mosquitto\n", n.address))
	there, here := connect(t, address, "there"), connect(t, n.address, "here")
	there.subscribe("room/#", 2)
	here.subscribe("room/#", 2)
	for k := 0; len(here.received()) == 0; k++ { // until mosquitto has connected
		there.publish("room/first", fmt.Sprint(k), 1)
		pause(pollInterval)
	}
	first := len(there.received())
	n.await("the first messages", func() bool { return len(here.received()) > 0 })
	here.publish("room/hub", "x", 2)
	there.publish("room/edge", "y", 2)
	for name, u := range map[string]*user{"here": here, "there": there} {
		await(t, "both at "+name, func() bool {
			got := u.received()
			return slices.Contains(got, "room/hub x") && slices.Contains(got, "room/edge y")
		})
	}
	here.publish("room/end", "z", 1)
	await(t, "the end", func() bool { return slices.Contains(there.received(), "room/end z") })
	if got := there.received(); len(got) != first+3 {
		t.Errorf("mosquitto's client got %q", got)
	}
}

// What another broker refuses is reported, and the rest works.
func TestRefusedSubscription(t *testing.T) {
	address := startMochi(t, &choosy{})
	b := bridgeTo("hub", address, rule("secret/#", configs.DirectionIn), rule("open/#", configs.DirectionIn))
	b.Version = configs.Version5
	n := startNode(t, "edge", b)
	n.connected()
	there, here := connect(t, address, "there"), connect(t, n.address, "here")
	here.subscribe("#", 1)
	there.publish("open/door", "come in", 1)
	if got := here.wants(1); got[0] != "open/door come in" {
		t.Errorf("got %q", got)
	}
	if s := n.status("hub"); len(s.Refused) != 1 || s.Refused[0] != "secret/#: not authorized (0x87)" {
		t.Errorf("refused %q", s.Refused)
	}
}

// choosy is a broker's access rule: nobody reads below secret.
type choosy struct{ mochi.HookBase }

// Provides implements mochi.Hook.
func (*choosy) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}

// OnConnectAuthenticate implements mochi.Hook.
func (*choosy) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }

// OnACLCheck implements mochi.Hook.
func (*choosy) OnACLCheck(_ *mochi.Client, name string, _ bool) bool { return name != "secret/#" }
