package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/test/setting"
)

// A backlog is a folder as kill -9 left it, with queues of sessions that are offline, and how far
// each file had been written when each batch of messages was acknowledged.
type backlog struct {
	folder  string
	sent    *stream
	batches []batch
	names   []string // of the files that may be cut
}

// A batch is some messages that were published together.
type batch struct {
	last int // counter of its last message
	used map[string]int64
}

const (
	backlogBatches = 40
	backlogTopic   = "q/0"
	lostTopic      = "q/mark"
)

var backlogSessions = []string{"keeps-1", "keeps-2"} // with QoS 1 and 2

// Wherever one of the newest files is cut, the broker starts, delivers what is left in order and once, and says what is not. Of the
// log of the tables, in which everything is in the order in which it was acknowledged, what precedes the damage is left. Of the
// value log, into which older messages may have been copied since, exactly as many are missing as the broker says.
func TestTruncatedFiles(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(setting.Seed(t), 2))
	b := makeBacklog(t, rng)
	silent := 0
	cuts := setting.Count(t, "TRUNCATIONS", 8)
	for _, name := range b.names {
		for range cuts {
			at := rng.Int64N(b.batches[len(b.batches)-1].used[name] + 1)
			t.Run(fmt.Sprintf("%s/%d", name, at), func(t *testing.T) {
				if b.openCut(t, name, at) {
					silent++
				}
			})
		}
	}
	// A log that is cut exactly between two commits does not show it. At random offsets that is rare.
	t.Logf("%d silent, %.2f likely", silent, b.between(cuts))
	if most := len(b.names) + int(4*b.between(cuts)); silent > most {
		t.Errorf("%d losses were not told, and more than %d cuts between two commits are not likely", silent, most)
	}
}

// between is how many of some cuts in the log of the tables are exactly between two commits, on average. Each message is one.
func (b *backlog) between(cuts int) float64 {
	end := b.batches[len(b.batches)-1]
	for name, used := range end.used {
		if strings.HasSuffix(name, ".mem") {
			return float64(cuts) * float64(end.last) / float64(used)
		}
	}
	return 0
}

func makeBacklog(t *testing.T, rng *rand.Rand) *backlog {
	t.Helper()
	b := &backlog{folder: t.TempDir(), sent: &stream{topic: backlogTopic, qos: 2}}
	h := newProcess(penstock(t, b.folder, "always"))
	address := launch(t, h)
	for i, id := range backlogSessions {
		l := join(t, address, id)
		speak(t, l, encodeSubscribe(packet.V5, 1, "q/#", byte(i+1)), packet.SUBACK)
		l.close()
	}
	l := join(t, address, "fills")
	b.note(t, 0)
	counter := 0
	for range backlogBatches {
		for range 1 + rng.IntN(60) {
			counter++
			out := packet.Outgoing{Topic: backlogTopic, Payload: b.sent.payload(counter), QoS: 1, ID: uint16(counter)}
			speak(t, l, packet.AppendPublish(nil, packet.V5, &out), packet.PUBACK)
		}
		b.note(t, counter)
	}
	l.close()
	if err := h.kill(); err != nil {
		t.Fatal(err)
	}
	return b
}

// note remembers how far each file is written.
func (b *backlog) note(t *testing.T, last int) {
	t.Helper()
	bt := batch{last: last, used: map[string]int64{}}
	b.names = nil
	for _, pattern := range []string{"*.mem", "*.vlog"} {
		found, err := filepath.Glob(filepath.Join(b.folder, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("no %s in %s (%v)", pattern, b.folder, err)
		}
		name := filepath.Base(slices.Max(found))
		b.names = append(b.names, name)
		bt.used[name] = used(t, filepath.Join(b.folder, name))
	}
	b.batches = append(b.batches, bt)
}

// used is the offset behind the last byte that is not zero.
func used(t *testing.T, path string) int64 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return int64(len(strings.TrimRight(string(data), "\x00")))
}

// openCut starts a broker on a copy of the folder with one file cut. It reports whether something was lost without a word.
func (b *backlog) openCut(t *testing.T, name string, at int64) (silent bool) {
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(b.folder)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(folder, name), at); err != nil {
		t.Fatal(err)
	}
	whole := -1 // the last message before the damage; -1: not even the sessions
	for _, bt := range b.batches {
		if bt.used[name] <= at {
			whole = bt.last
		}
	}
	h := newProcess(penstock(t, folder, "always"))
	address := launch(t, h)
	defer func() {
		if err := h.kill(); err != nil {
			t.Error(err)
		}
	}()
	inValues := strings.HasSuffix(name, ".vlog")
	if inValues {
		whole = 0
	}
	all := b.batches[len(b.batches)-1].last
	for _, id := range backlogSessions {
		got, err := b.collect(t, address, id)
		if err != nil && whole >= 0 {
			t.Errorf("%s: %v", id, err)
		}
		b.judge(t, id, got, whole)
		missing, told := all-len(got), toldLost(t, h.said(), id)
		if inValues && missing != told {
			t.Errorf("%s: %d messages are missing, and %d are told", id, missing, told)
		}
		silent = silent || missing > 0 && !strings.Contains(h.said(), "lost")
		t.Logf("%s: of %d messages %d must be left, %d are", id, all, max(whole, 0), len(got))
	}
	if t.Failed() {
		t.Log(h.said())
	}
	return silent
}

// toldLost is how many messages of a session the broker's log says are lost.
func toldLost(t *testing.T, log, id string) (sum int) {
	t.Helper()
	line := regexp.MustCompile(`messages lost.* client=` + id + ` .*count=(\d+)`)
	for _, m := range line.FindAllStringSubmatch(log, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// judge wants every message up to one, in order, and of the others no message twice or out of order.
func (b *backlog) judge(t *testing.T, id string, got []int, whole int) {
	t.Helper()
	for i, counter := range got {
		if i > 0 && counter <= got[i-1] {
			t.Errorf("%s: message %d came after %d", id, counter, got[i-1])
			return
		}
		if i < whole && counter != i+1 {
			t.Errorf("%s: message %d came in place of %d, which precedes the damage", id, counter, i+1)
			return
		}
	}
	if len(got) < whole {
		t.Errorf("%s: %d messages came, %d precede the damage", id, len(got), whole)
	}
}

// collect gets everything that is queued for a session.
func (b *backlog) collect(t *testing.T, address, id string) (got []int, err error) {
	t.Helper()
	l, err := dial(address, packet.V5)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	ack := speak(t, l, hello{id: id, version: packet.V5}.encode(), packet.CONNACK)
	if !ack.SessionPresent {
		return nil, errors.New("its session is not there")
	}
	// Should the subscription be lost, the mark needs one.
	mark := packet.AppendPublish(encodeSubscribe(packet.V5, 1, lostTopic, 1), packet.V5, &packet.Outgoing{Topic: lostTopic, QoS: 1, ID: 2})
	if err := l.write(mark); err != nil {
		t.Fatal(err)
	}
	for {
		p, err := l.next()
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		if packet.Type(p.FixedHeader.Type) != packet.PUBLISH {
			continue
		}
		if p.TopicName == lostTopic {
			return got, nil
		}
		_, counter, err := parsePayload(p.Payload)
		if err != nil || string(p.Payload) != string(b.sent.payload(counter)) {
			t.Fatalf("%s: payload %.40q of %d bytes (%v)", id, p.Payload, len(p.Payload), err)
		}
		got = append(got, counter)
		if err := l.write(answer(p)); err != nil {
			t.Fatal(err)
		}
	}
}

// launch starts a broker and returns its address.
func launch(t *testing.T, h host) string {
	t.Helper()
	if err := h.launch(); err != nil {
		t.Fatal(err)
	}
	address, err := h.ready()
	if err != nil {
		t.Fatalf("%v\n%s", err, h.said())
	}
	return address
}

// join connects with MQTT 5 and a session that stays.
func join(t *testing.T, address, id string) *link {
	t.Helper()
	l, err := dial(address, packet.V5)
	if err != nil {
		t.Fatal(err)
	}
	speak(t, l, hello{id: id, version: packet.V5}.encode(), packet.CONNACK)
	return l
}

// speak sends a packet and wants its answer.
func speak(t *testing.T, l *link, b []byte, want packet.Type) packets.Packet {
	t.Helper()
	if err := l.write(b); err != nil {
		t.Fatal(err)
	}
	p, err := l.next()
	if err != nil {
		t.Fatal(err)
	}
	if packet.Type(p.FixedHeader.Type) != want || p.ReasonCode >= 0x80 {
		t.Fatalf("packet type %d with 0x%02x, want %s", p.FixedHeader.Type, p.ReasonCode, want)
	}
	return p
}
