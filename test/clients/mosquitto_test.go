package clients

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockmq/penstock/test/library"
)

// mosquittoVersions are what mosquitto_pub and mosquitto_sub call the versions of the protocol.
var mosquittoVersions = []string{"mqttv31", "mqttv311", "mqttv5"}

// mosquitto prepares one of mosquitto's programs for the broker under test.
func mosquitto(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		library.Absent(t, "mosquitto-clients", err)
	}
	host, port, err := net.SplitHostPort(brokerTCP)
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(path, append([]string{"-h", host, "-p", port}, args...)...)
}

// publishWith runs mosquitto_pub; lines, if any, go to its stdin.
func publishWith(t *testing.T, lines []string, args ...string) {
	t.Helper()
	cmd := mosquitto(t, "mosquitto_pub", args...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// A subscriber is a mosquitto_sub that runs.
type subscriber struct {
	cmd   *exec.Cmd
	lines chan string // closed when it ends
}

func subscribeWith(t *testing.T, args ...string) *subscriber {
	t.Helper()
	s := &subscriber{cmd: mosquitto(t, "mosquitto_sub", args...), lines: make(chan string, inboxMax)}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stderr = s.cmd.Stdout
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go s.listen(out)
	t.Cleanup(s.kill)
	return s
}

func (s *subscriber) listen(out io.Reader) {
	defer close(s.lines)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		s.lines <- lines.Text()
	}
}

// kill ends the connection without a DISCONNECT.
func (s *subscriber) kill() {
	_ = s.cmd.Process.Kill()
	for range s.lines { // until listen ends, so that Wait may close its pipe
		continue
	}
	_ = s.cmd.Wait()
}

func (s *subscriber) expect(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got, ok := <-s.lines:
			if !ok || got != w {
				t.Fatalf("mosquitto_sub printed %q (running: %v), want %q", got, ok, w)
			}
		case <-time.After(patience):
			t.Fatalf("mosquitto_sub printed nothing, want %q", w)
		}
	}
}

// everyVersion runs play for each version with a prefix for topics and client identifiers.
func everyVersion(t *testing.T, scene string, play func(t *testing.T, version, prefix string)) {
	t.Helper()
	for _, version := range mosquittoVersions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			play(t, version, scene+version)
		})
	}
}

// started starts a subscriber to prefix/# and waits until a retained message tells that it is subscribed.
func started(t *testing.T, version, prefix string, args ...string) *subscriber {
	t.Helper()
	publishWith(t, nil, "-V", version, "-q", "1", "-r", "-t", prefix+"/ready", "-m", "yes")
	s := subscribeWith(t, append([]string{"-V", version, "-t", prefix + "/#"}, args...)...)
	select {
	case line, ok := <-s.lines:
		if !ok || !strings.Contains(line, "yes") {
			t.Fatalf("mosquitto_sub printed %q (running: %v), want the retained message", line, ok)
		}
	case <-time.After(patience):
		t.Fatal("mosquitto_sub printed nothing, want the retained message")
	}
	return s
}

func TestMosquittoRoundTrip(t *testing.T) {
	everyVersion(t, "mtrip", func(t *testing.T, version, prefix string) {
		s := started(t, version, prefix, "-q", "2", "-F", "%q %r %t %p")
		for qos := range 3 {
			topic := fmt.Sprint(prefix, "/", qos)
			var lines, want []string
			for n := range 20 {
				lines = append(lines, fmt.Sprint("message ", n))
				want = append(want, fmt.Sprintf("%d 0 %s message %d", qos, topic, n))
			}
			publishWith(t, lines, "-V", version, "-q", fmt.Sprint(qos), "-t", topic, "-l")
			s.expect(t, want...)
		}
	})
}

func TestMosquittoRetained(t *testing.T) {
	everyVersion(t, "mkeep", func(t *testing.T, version, prefix string) {
		publishWith(t, nil, "-V", version, "-q", "1", "-r", "-t", prefix+"/temp", "-m", "21")
		args := []string{"-V", version, "-q", "1", "-t", prefix + "/#", "-F", "%r %p", "-W", "20"}
		s := subscribeWith(t, append(args, "-C", "1")...)
		s.expect(t, "1 21")
		publishWith(t, nil, "-V", version, "-q", "1", "-r", "-t", prefix+"/temp", "-n") // deletes it
		publishWith(t, nil, "-V", version, "-q", "1", "-r", "-t", prefix+"/other", "-m", "22")
		s = subscribeWith(t, append(args, "-C", "1")...)
		s.expect(t, "1 22")
	})
}

func TestMosquittoWill(t *testing.T) {
	everyVersion(t, "mwill", func(t *testing.T, version, prefix string) {
		witness := started(t, version, prefix, "-q", "1", "-F", "%q %p")
		victim := started(t, version, prefix+"victim", "--will-topic", prefix+"/will", "--will-payload", "gone", "--will-qos", "1")
		victim.kill()
		witness.expect(t, "1 gone")
	})
}

func TestMosquittoPersistentSession(t *testing.T) {
	everyVersion(t, "mstay", func(t *testing.T, version, prefix string) {
		args := []string{"-V", version, "-c", "-i", prefix, "-q", "1", "-t", prefix + "/#"}
		if version == "mqttv5" {
			args = append(args, "-x", "3600")
		}
		// -E: end when subscribed.
		if out, err := mosquitto(t, "mosquitto_sub", append(slices.Clone(args), "-E")...).CombinedOutput(); err != nil {
			t.Fatalf("mosquitto_sub: %v\n%s", err, out)
		}
		var lines []string
		for n := range 20 {
			lines = append(lines, fmt.Sprint("message ", n))
		}
		publishWith(t, lines, "-V", version, "-q", "1", "-t", prefix+"/a", "-l")
		subscribeWith(t, append(args, "-C", "20")...).expect(t, lines...)
	})
}

func TestMosquittoProperties(t *testing.T) {
	s := started(t, "mqttv5", "mprop", "-q", "1", "-F", "%C|%R|%D|%F|%P|%p")
	publishWith(t, nil, "-V", "mqttv5", "-q", "1", "-t", "mprop/a", "-m", "hello",
		"-D", "publish", "content-type", "text/plain", "-D", "publish", "response-topic", "mprop/answer",
		"-D", "publish", "correlation-data", "42", "-D", "publish", "payload-format-indicator", "1",
		"-D", "publish", "user-property", "k", "v", "-D", "publish", "user-property", "k", "w")
	s.expect(t, "text/plain|mprop/answer|42|1|k:v k:w|hello")
}

// A shared subscription spreads what mosquitto_pub sends over two mosquitto_subs.
func TestMosquittoSharedSubscription(t *testing.T) {
	const n = 40
	var members []*subscriber
	for range 2 {
		members = append(members, started(t, "mqttv5", "mshare", "-q", "1", "-t", "$share/g/mshare-jobs", "-F", "%t %p"))
	}
	var lines []string
	missing := make(map[string]bool, n)
	for i := range n {
		lines = append(lines, fmt.Sprint(i))
		missing[fmt.Sprint("mshare-jobs ", i)] = true
	}
	publishWith(t, lines, "-V", "mqttv5", "-q", "1", "-t", "mshare-jobs", "-l")
	took := make([]int, len(members))
	for len(missing) > 0 {
		var line string
		var by int
		select {
		case line = <-members[0].lines:
			by = 0
		case line = <-members[1].lines:
			by = 1
		case <-time.After(patience):
			t.Fatalf("%d of %d jobs did not arrive", len(missing), n)
		}
		if strings.HasSuffix(line, "/ready yes") {
			continue // the second member's start, seen by the first
		}
		if !missing[line] {
			t.Fatalf("printed %q, unwanted or twice", line)
		}
		delete(missing, line)
		took[by]++
	}
	if slices.Contains(took, 0) {
		t.Errorf("the members took %v of %d", took, n)
	}
}
