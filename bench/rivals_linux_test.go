package bench

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// Where a broker is not installed a program in its place reads what ours would be started with and serves as it says. It is this
// test's program, told by the environment whom to play.
const actorVariable = "PENSTOCK_BENCH_PLAYS"

func TestMain(m *testing.M) {
	if name := os.Getenv(actorVariable); name != "" {
		if err := play(name, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A part is how a broker is started: its arguments, and where it finds its address.
type part struct {
	arguments []string // FILE is its configuration
	version   []string
	bound     string // the address in its configuration or environment
	also      []string
}

var parts = map[string]part{
	"nanomq": {
		[]string{"start", "--conf", "FILE"}, []string{"--version"}, `listeners\.tcp \{ bind = "(127.0.0.1:\d+)" \}`,
		[]string{"allow_anonymous = true", "level = error"},
	},
	"flashmq": {
		[]string{"--config-file", "FILE"}, []string{"--version"}, `(?s)listen \{\n\tprotocol mqtt\n\tport (\d+)\n`,
		[]string{"allow_anonymous true", "inet4_bind_address 127.0.0.1", "max_qos_msg_pending_per_client 65535"},
	},
	"nats-server": {
		[]string{"-c", "FILE"}, []string{"--version"}, `mqtt \{ listen: "(127.0.0.1:\d+)"`, []string{"jetstream { store_dir: \"/", "server_name: bench"},
	},
	"emqx": {
		[]string{"foreground"}, []string{"eval", "emqx_app:get_release()."}, `EMQX_LISTENERS__TCP__DEFAULT__BIND=(\S+)`,
		[]string{"EMQX_NODE__DATA_DIR=/", "EMQX_DASHBOARD__LISTENERS__HTTP__BIND=0", "EMQX_MQTT__MAX_MQUEUE_LEN=infinity"},
	},
	"vernemq": {
		[]string{"console", "-noshell", "-noinput"}, []string{"version"}, `listener\.tcp\.default = (\S+)`,
		[]string{"accept_eula = yes", "allow_anonymous = on", "max_offline_messages = -1", "platform_data_dir = /"},
	},
}

// play is a broker that was started with arguments.
func play(name string, arguments []string) error {
	p := parts[name]
	if slices.Equal(arguments, p.version) {
		fmt.Println(name, "version 1")
		return nil
	}
	if len(arguments) != len(p.arguments) {
		return fmt.Errorf("arguments %q", arguments)
	}
	config := strings.Join(os.Environ(), "\n")
	for i, a := range arguments {
		text, err := os.ReadFile(a)
		switch {
		case p.arguments[i] == "FILE" && err == nil:
			config = string(text)
		case p.arguments[i] != a:
			return fmt.Errorf("argument %q: %w", a, err)
		}
	}
	if release := os.Getenv("RELEASE"); release != "" {
		text, err := os.ReadFile(filepath.Join(release, "etc", "vernemq.conf"))
		if err != nil {
			return err
		}
		config = string(text)
	}
	for _, also := range p.also {
		if !strings.Contains(config, also) {
			return fmt.Errorf("there is no %q in %s", also, config)
		}
	}
	bound := regexp.MustCompile(p.bound).FindStringSubmatch(config)
	if bound == nil {
		return fmt.Errorf("no address in %s", config)
	}
	return serveAt("127.0.0.1:" + bound[1][strings.LastIndexByte(bound[1], ':')+1:])
}

func serveAt(address string) error {
	server := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	err := errors.Join(server.AddHook(new(openDoor), nil), server.AddListener(listeners.NewTCP(listeners.Config{ID: "t", Address: address})), server.Serve())
	if err != nil {
		return err
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
	return server.Close()
}

// actor makes a program that plays a broker, in a release tree. The test's program is its child, or the same process.
func actor(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	for _, folder := range []string{"bin", "etc", "releases", "data"} {
		if err := os.Mkdir(filepath.Join(base, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	call := "exec "
	if name == "emqx" {
		call = ""
	}
	script := "#!/bin/sh\nexport " + actorVariable + "=" + name + "\n"
	if name == "vernemq" {
		script += "export RELEASE=$(cd ${0%/*}/.. && pwd -P)\n"
	}
	path := filepath.Join(base, "bin", name)
	if err := os.WriteFile(path, []byte(script+call+self+` "$@"`+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every broker is started as it wants to be, from a configuration with its address, measured with all its processes, and gone
// afterwards with its files. What it cannot do is left out.
func TestRivals(t *testing.T) {
	for _, name := range Brokers {
		if parts[name].arguments == nil {
			continue // those are started in truth
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rival(t, name, actor(t, name))
		})
	}
}

// The brokers that are installed, too.
func TestInstalledRivals(t *testing.T) {
	for _, name := range Brokers {
		path, err := exec.LookPath(name)
		if parts[name].arguments == nil || err != nil {
			continue
		}
		t.Run(name, func(t *testing.T) { rival(t, name, path) })
	}
}

func rival(t *testing.T, name, path string) {
	t.Helper()
	b, err := NewBroker(name, path)
	if err != nil {
		t.Fatal(err)
	}
	o := small(Default(Pairs), "")
	five := o
	five.Version = 5
	folder := t.TempDir()
	var pids []int
	c, err := Compare(t.Context(), CompareOptions{
		Brokers: []Broker{b}, Folder: folder, Duration: 100 * time.Millisecond,
		Cases:  []Case{{Name: "pairs", Group: Live, Options: o, Figures: throughput(0, "")}, {Name: "five", Group: Live, Options: five, Figures: throughput(0, "")}},
		Report: func(_ Case, _ int, _ string, r Result) { pids = append(pids, r.Options.PIDs...) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(c.Versions[0], name) || len(c.Troubles) > 0 || (len(c.Unmeasured) > 0) != b.only311 {
		t.Errorf("%+v", c)
	}
	if len(pids) == 0 || name == "emqx" && len(pids) < 4 {
		t.Errorf("processes %d", pids)
	}
	for _, pid := range pids {
		if _, err := process(pid).rss(); err == nil {
			t.Errorf("process %d still runs", pid)
		}
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
}

// VerneMQ as a package reads /etc only, which is said.
func TestVerneMQNeedsItsRelease(t *testing.T) {
	if _, err := mirrorVerneMQ("/bin/sh", settings{folder: t.TempDir()}); !errors.Is(err, errNoRelease) {
		t.Errorf("error %v", err)
	}
}

// Brokers are not measured in what they do not know.
func TestKnows(t *testing.T) {
	five, share := Default(Pairs), Default(Share)
	five.Version = 5
	for _, test := range []struct {
		name string
		k    Case
		want bool
	}{
		{"nanomq", Case{Group: Live, Options: five}, true},
		{"nanomq", Case{Group: Stored, Options: five}, false},
		{"nats-server", Case{Group: Live, Options: five}, false},
		{"nats-server", Case{Group: Live, Options: share}, false},
		{"nats-server", Case{Group: Stored, Options: Default(Pairs)}, true},
		{"mosquitto", Case{Group: Live, Options: share}, true},
	} {
		b, err := NewBroker(test.name, "")
		if err != nil || b.knows(&test.k) != test.want {
			t.Errorf("%s: %+v, error %v", test.name, test.k.Options, err)
		}
	}
	first := Case{Options: share, Only: Brokers[:1]}
	if ours, theirs := Penstock(""), Mosquitto(""); !ours.knows(&first) || theirs.knows(&first) {
		t.Errorf("%v are measured in a case of theirs, and others: %v, %v", first.Only, ours.knows(&first), theirs.knows(&first))
	}
	if _, err := NewBroker("nobody", ""); err == nil || !strings.Contains(err.Error(), "one of penstock, nanomq") {
		t.Errorf("error %v", err)
	}
}
