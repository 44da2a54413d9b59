package faults

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/client"
)

// nearlyFull is less than the store keeps free (64 MiB), and more than it needs to write an acknowledgement (16 MiB).
const nearlyFull = 40 << 20

// On a full disk, messages that would have to be stored are refused, with the word that the version has for it. Everything else goes
// on, and the broker takes messages again when there is room, by itself. Nothing acknowledged is lost or out of order, though the broker
// is killed while the disk is full, and again afterwards; and nothing refused is delivered.
func TestDiskFull(t *testing.T) {
	d := newDisk(t)
	b := mustServe(t, d.folder())
	b.subscribeLogger(t)
	var l ledger
	l.mustSend(t, b, 40)
	d.leave(t, nearlyFull)
	until(t, "a message is refused", func() bool { return l.send(t, b) != nil })
	b.mustRefuse(t)
	b.live(t)
	if full := b.metric(t, "penstock_storage_full"); full != 1 {
		t.Errorf("penstock_storage_full %v", full)
	}
	if dropped := b.metric(t, `penstock_messages_dropped_total{reason="storage"}`); dropped < 1 {
		t.Errorf("%v drops are counted", dropped)
	}
	got := b.take(t, 10)
	b.kill()

	b = mustServe(t, d.folder())
	until(t, "a message is refused", func() bool { return l.send(t, b) != nil })
	b.mustRefuse(t)
	got = append(got, b.take(t, 20)...)
	d.clear(t)
	until(t, "there is room again", func() bool { return l.send(t, b) == nil })
	l.mustSend(t, b, 10)
	b.kill()

	b = mustServe(t, d.folder())
	l.mustSend(t, b, 1)
	for last := ""; last != l.acked[len(l.acked)-1]; {
		last = b.take(t, 1)[0]
		got = append(got, last)
	}
	l.check(t, got)
	if code := b.terminate(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// mustRefuse sends what has no room, in every way.
func (b *broker) mustRefuse(t *testing.T) {
	t.Helper()
	for _, version := range []byte{client.MQTT31, client.MQTT311, client.MQTT5} {
		for _, p := range []publication{
			{qos: 1, topic: "a/refused"}, {qos: 2, topic: "a/refused"}, {qos: 1, retain: true, topic: "state"},
		} {
			p.version, p.payload = version, "refused"
			if err := b.publish(t.Context(), p, patience); !refused(version, err) {
				t.Errorf("%+v: %v", p, err)
			}
		}
	}
}

// A disk without any room, filled by somebody else at once: what the store had taken by then waits, unacknowledged, until there is
// room; the rest is refused, and a client that is connected gets what waits for it, from memory and from disk.
func TestNoRoomAtAll(t *testing.T) {
	d := newDisk(t)
	b := mustServe(t, d.folder(), "--set", "limits.max_inflight=3")
	b.subscribeLogger(t)
	l := ledger{qos: 1}
	l.mustSend(t, b, 20)
	first, goOn, taken := make(chan struct{}), make(chan struct{}), make(chan []string, 1)
	go func() {
		once := sync.OnceFunc(func() { close(first); <-goOn })
		got, err := b.receive(t.Context(), 20, once)
		if err != nil {
			t.Error(err)
		}
		taken <- got
	}()
	select {
	case <-first:
	case got := <-taken:
		t.Fatalf("only %q came", got)
	}
	d.leave(t, 0)
	waiting := make(chan error, 1)
	go func() {
		p := publication{client: "patient", version: client.MQTT5, qos: 1, topic: "a/ledger", payload: "patient"}
		waiting <- b.publish(t.Context(), p, patience)
	}()
	until(t, "a publisher waits", func() bool { return b.metric(t, "penstock_storage_waiting_writes") > 0 })
	b.mustRefuse(t)
	b.live(t)
	close(goOn)
	got := <-taken
	select {
	case err := <-waiting:
		t.Fatalf("the publisher that waited was told: %v", err)
	default:
	}
	d.clear(t)
	if err := <-waiting; err != nil {
		t.Errorf("the publisher that waited: %v", err)
	}
	l.acked = append(l.acked, "patient")
	until(t, "there is room again", func() bool { return l.send(t, b) == nil })
	l.check(t, append(got, b.take(t, len(l.acked)-len(got))...))
}

// atOnce is much less than limits.connect_timeout, after which a client that nobody answers is let go.
const atOnce = 5 * time.Second

// On a disk without any room, filled by somebody else at once and before anything noticed, a client with a session that has to be
// stored is refused at once, a known one and a new one alike; the others are served. When there is room again they are all let in.
func TestConnectWithoutRoom(t *testing.T) {
	d := newDisk(t)
	b := mustServe(t, d.folder())
	b.subscribeLogger(t)
	l := ledger{qos: 1}
	l.mustSend(t, b, 5)
	d.leave(t, 0)
	for _, version := range []byte{client.MQTT5, client.MQTT311, client.MQTT31} {
		for _, id := range []string{"new", "logger"} {
			o := b.options(version, id)
			o.Clean, o.Timeout = false, atOnce
			if version == client.MQTT5 {
				o.SessionExpiry = 1000
			}
			want := packet.QuotaExceeded
			if version != client.MQTT5 {
				want = packet.ServerUnavailable
			}
			_, err := client.Publish(t.Context(), o, client.Publication{Message: client.Message{Topic: "live"}, Source: client.One(nil)})
			if r := (*client.Refusal)(nil); !errors.As(err, &r) || r.Code != want {
				t.Errorf("version %d, client %q: %v", version, id, err)
			}
		}
	}
	b.live(t)
	if waiting := b.metric(t, "penstock_storage_waiting_writes"); waiting != 0 {
		t.Errorf("%v writes wait for the disk", waiting)
	}
	d.clear(t)
	l.check(t, b.take(t, 5))
	until(t, "there is room for new messages", func() bool { return l.send(t, b) == nil })
}

// A broker on a disk without any room can be ended, and killed. It does not start there, and says why; and when it does, everything that
// was acknowledged is there.
func TestEndWithoutRoom(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, b *broker){
		"kill": func(_ *testing.T, b *broker) { b.kill() },
		"term": func(t *testing.T, b *broker) {
			if code := b.terminate(t); code != 1 {
				t.Errorf("exit code %d", code)
			}
			b.mustSay(t, "penstock: storage: write: no space left on device")
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			b := mustServe(t, d.folder())
			b.subscribeLogger(t)
			var l ledger
			l.mustSend(t, b, 20)
			d.leave(t, 0)
			told := make(chan error, 1)
			go func() {
				p := publication{client: "late", version: client.MQTT311, qos: 1, topic: "a/ledger", payload: "late"}
				told <- b.publish(t.Context(), p, patience)
			}()
			until(t, "a publisher waits", func() bool { return b.metric(t, "penstock_storage_waiting_writes") > 0 })
			end(t, b)
			if err := <-told; err == nil {
				t.Error("a message without room was acknowledged")
			}
			b = serve(t, d.folder())
			<-b.ended
			if code := b.cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("exit code %d", code)
			}
			b.mustSay(t, "no space left on device: ")
			d.clear(t)
			b = mustServe(t, d.folder())
			l.mustSend(t, b, 5)
			l.check(t, b.take(t, len(l.acked)))
		})
	}
}

// mustSay looks for the one line with which a program ends.
func (b *broker) mustSay(t *testing.T, text string) {
	t.Helper()
	if len(b.log) == 0 || !strings.Contains(b.log[len(b.log)-1], text) || !strings.HasPrefix(b.log[len(b.log)-1], "penstock: ") {
		t.Errorf("the last line does not say %q: %q", text, b.log)
	}
}

// A folder that may not be written to is a mistake in the configuration, told in one line.
func TestFolderNotWritable(t *testing.T) {
	folder := t.TempDir()
	c := exec.Command(program, "serve", "--listen", "tcp://127.0.0.1:0", "--admin-address", "", "--storage-path", filepath.Join(folder, "data"))
	c.Dir = "/"
	if os.Geteuid() == 0 { // whom nothing is forbidden
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	for at := folder; at != filepath.Dir(at) && at != os.TempDir(); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	kill := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
	defer kill.Stop()
	out, err := c.CombinedOutput()
	want := "penstock: storage " + filepath.Join(folder, "data") + ": mkdir " + filepath.Join(folder, "data") +
		": permission denied: storage.path must be a folder that the broker may write to\n"
	if c.ProcessState == nil || c.ProcessState.ExitCode() != 2 || string(out) != want {
		t.Errorf("%v: %s", err, out)
	}
}
