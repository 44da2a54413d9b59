package configs

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, path string, flags ...Flag) Config {
	t.Helper()
	c, err := Load(path, flags)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "penstock.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNoFileNoFlagIsTheDefault(t *testing.T) {
	if got := load(t, ""); !reflect.DeepEqual(got, Default()) {
		t.Errorf("got %+v\nwant %+v", got, Default())
	}
}

func TestTheReferenceFileIsTheDefault(t *testing.T) {
	if got := load(t, "penstock.yaml"); !reflect.DeepEqual(got, Default()) {
		t.Errorf("got %+v\nwant %+v", got, Default())
	}
}

// Every key there is stands in penstock.yaml with a comment; those of a listener may be commented out.
func TestTheReferenceFileExplainsEveryKey(t *testing.T) {
	text, err := os.ReadFile("penstock.yaml")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	d, err := readDocument("penstock.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		line, ok := d.lines[s.key]
		if !ok {
			t.Errorf("%s is missing", s.key)
		} else if !strings.Contains(lines[line-1], " # ") {
			t.Errorf("%s has no comment", s.key)
		}
	}
	for list, item := range map[string]reflect.Type{
		"listeners": reflect.TypeFor[Listener](), "channels": reflect.TypeFor[Channel](), "bridges": reflect.TypeFor[Bridge](), "bridges.topics": reflect.TypeFor[BridgeTopic](),
	} {
		for _, key := range keysOf(item) {
			if !strings.Contains(string(text), " "+key+":") {
				t.Errorf("%s.%s is missing", list, key)
			}
		}
	}
}

func TestEveryExampleLoads(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	texts := map[string][]byte{}
	for _, file := range files {
		if texts[file], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(t.TempDir())
	makeCertificates(t, "certs")
	for _, name := range []string{"users", "acl.yaml"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range texts {
		if err := os.WriteFile("copy of "+file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		c := load(t, "copy of "+file)
		if file != "penstock.yaml" && reflect.DeepEqual(c, Default()) {
			t.Errorf("%s changes nothing", file)
		}
	}
}

func TestTheLaterSourceWins(t *testing.T) {
	path := write(t, "limits: {max_qos: 0, max_packet_size: 2KiB, max_keep_alive: 7}\nlog: {level: warn}\n")
	t.Setenv("PENSTOCK_LIMITS_MAX_QOS", "1")
	t.Setenv("PENSTOCK_LIMITS_MAX_PACKET_SIZE", "64KiB")
	t.Setenv("PENSTOCK_AUTH_ANONYMOUS", "never")
	t.Setenv("PENSTOCK_ADMIN_ADDRESS", "")
	t.Setenv("PENSTOCK_SYS_INTERVAL", "1m")
	c := load(t, path, Flag{Name: "--max-qos", Key: "limits.max_qos", Value: "2"})
	want := Default()
	want.Limits.MaxKeepAlive = 7                 // file
	want.Log.Level = "warn"                      // file
	want.Limits.MaxPacketSize = 64 << 10         // environment over file
	want.Auth.Anonymous = "never"                // environment over default
	want.Admin.Address = ""                      // an empty variable is a value
	want.Sys.Interval = time.Minute              // environment
	want.Limits.MaxQoS = Default().Limits.MaxQoS // flag over environment over file
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v\nwant %+v", c, want)
	}
}

func TestListenersFromTheEnvironment(t *testing.T) {
	t.Setenv("PENSTOCK_LISTENERS", "tcp://:1884, tcp://127.0.0.1:1885?name=local&proxy_protocol=required,ws://:8085,unix:///run/p.sock,tcp://:0")
	got := load(t, "penstock.yaml").Listeners
	want := []Listener{
		{Name: "tcp", Type: "tcp", Address: ":1884", ProxyProtocol: "off"},
		{Name: "local", Type: "tcp", Address: "127.0.0.1:1885", ProxyProtocol: "required"},
		{Name: "ws", Type: "ws", Address: ":8085", Path: "/mqtt", ProxyProtocol: "off"},
		{Name: "unix", Type: "unix", Address: "/run/p.sock", ProxyProtocol: "off"},
		{Name: "tcp-2", Type: "tcp", Address: ":0", ProxyProtocol: "off"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// What is left open of a bridge has its default, and a zero that was written stays.
func TestBridgesAreCompleted(t *testing.T) {
	c := load(t, write(t, "bridges:\n  - name: hub\n    address: tcp://h\n    keep_alive: 0s\n    bridge_bit: false\n    topics: [{filter: a, qos: 0}, {filter: b}]\n"))
	want := DefaultBridge()
	want.Name, want.Address, want.KeepAlive, want.BridgeBit = "hub", "tcp://h", 0, false
	a, b := DefaultBridgeTopic(), DefaultBridgeTopic()
	a.Filter, a.QoS, b.Filter = "a", 0, "b"
	want.Topics = []BridgeTopic{a, b}
	if !reflect.DeepEqual(c.Bridges, []Bridge{want}) {
		t.Errorf("got %+v\nwant %+v", c.Bridges, want)
	}
	one, err := ParseBridge("hub", []byte("name: hub\naddress: tcp://h\nkeep_alive: 0s\nbridge_bit: false\ntopics: [{filter: a, qos: 0}, {filter: b}]\n"))
	if err != nil || !reflect.DeepEqual(one, want) {
		t.Errorf("alone: got %+v, %v", one, err)
	}
	for text, mistake := range map[string]string{
		"": "hub: expected keys with values, got nothing", "- a": "hub:1: bridges[0]: expected keys with values, got a list",
		"name: a\nadress: b\n": "hub:2: bridges[0].adress: unknown key; did you mean address", "a: [": "hub:1: expected YAML",
	} {
		_, err := ParseBridge("hub", []byte(text))
		checkMistake(t, err, mistake)
	}
}

// A section whose keys are all commented out, an alias and an empty file are no mistakes.
func TestHarmlessFiles(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "listeners:\nlimits:\n  # max_qos: 1\nlog:\n", "{}\n"} {
		if got := load(t, write(t, text)); !reflect.DeepEqual(got, Default()) {
			t.Errorf("%q: got %+v", text, got)
		}
	}
	c := load(t, write(t, "limits: {max_sessions: &n 5, max_connections: *n}\n"))
	if c.Limits.MaxSessions != 5 || c.Limits.MaxConnections != 5 {
		t.Errorf("alias: got %+v", c.Limits)
	}
}

// Variables that only look like ours belong to others, such as Kubernetes' service links.
func TestForeignVariablesAreLeftAlone(t *testing.T) {
	for _, name := range []string{
		"PENSTOCK_PORT", "PENSTOCK_SERVICE_HOST", "PENSTOCK_ADMIN_PORT", "PENSTOCK_ADMIN_PORT_9883_TCP_ADDR",
		"PENSTOCK_ADMIN_SERVICE_HOST", "PENSTOCK_SEED",
	} {
		t.Setenv(name, "tcp://10.0.0.1:1883")
	}
	if got := load(t, ""); !reflect.DeepEqual(got, Default()) {
		t.Errorf("got %+v", got)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "4096": 4096, "1B": 1, "64KiB": 65536, "64 KiB": 65536, "1MiB": 1 << 20, "1GiB": 1 << 30, "2TiB": 2 << 40,
		"1kB": 1000, "1KB": 1000, "1MB": 1e6, "1GB": 1e9, "1_000": 1000, "8589934591GiB": 8589934591 << 30,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "B", "-1", "1.5MiB", "1M", "1mib", "MiB", "8589934592GiB", "1 2", "KiBKiB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
	for _, n := range []int64{0, 1, 1023, 1024, 1 << 20, 3 << 30, 1<<30 + 1} {
		if got, err := parseSize(formatSize(n)); err != nil || got != n {
			t.Errorf("%d is written %q and read as %d, %v", n, formatSize(n), got, err)
		}
	}
}

func TestDiff(t *testing.T) {
	changed := Default()
	changed.Log.Level = "debug"
	changed.Limits.MaxQoS = 1
	changed.Admin.Address = ""
	changed.Listeners[1].Path = "/chat"
	reloadable, needsRestart := Diff(Default(), changed)
	if want := []string{"log.level"}; !reflect.DeepEqual(reloadable, want) {
		t.Errorf("reloadable: got %q, want %q", reloadable, want)
	}
	if want := []string{"listeners", "limits.max_qos", "admin.address"}; !reflect.DeepEqual(needsRestart, want) {
		t.Errorf("needs restart: got %q, want %q", needsRestart, want)
	}
	if r, n := Diff(changed, changed); r != nil || n != nil {
		t.Errorf("no change: got %q, %q", r, n)
	}
}

// Names in live, bounds, choices and checks are keys that exist.
func TestRulesAreForKeysThatExist(t *testing.T) {
	known := map[string]bool{}
	for _, s := range slices.Concat(settings, settingsOf("listeners", reflect.TypeFor[Listener]()),
		settingsOf("channels", reflect.TypeFor[Channel]()), settingsOf("bridges", reflect.TypeFor[Bridge]()), settingsOf("bridges.topics", reflect.TypeFor[BridgeTopic]())) {
		known[s.key] = true
	}
	rules := []string{}
	for _, v := range []reflect.Value{
		reflect.ValueOf(live), reflect.ValueOf(bounds), reflect.ValueOf(choicesOf), reflect.ValueOf(textChecks),
	} {
		for _, key := range v.MapKeys() {
			rules = append(rules, key.String())
		}
	}
	for _, key := range rules {
		if !known[key] {
			t.Errorf("%s is no key", key)
		}
	}
}

// The defaults obey the rules.
func TestTheDefaultsAreAllowed(t *testing.T) {
	for _, s := range settings {
		v := reflect.ValueOf(valueAt(Default(), s.key))
		n := int64(-1)
		switch {
		case v.CanInt():
			n = v.Int()
		case v.CanUint():
			n = int64(v.Uint())
		default:
			continue
		}
		if !s.bound().holds(n) {
			t.Errorf("%s: %d is outside %+v", s.key, n, s.bound())
		}
	}
}
