package bench

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstockmq/penstock/configs"
)

func cpu(values ...float64) []Result {
	var rounds []Result
	for _, v := range values {
		rounds = append(rounds, Result{BrokerMicros: v, DeliveriesPerSecond: 1e6 / v})
	}
	return rounds
}

// A table shows medians, the ratio of the first broker to the last, and what misses its limit.
func TestComparisonTable(t *testing.T) {
	c := &Comparison{Brokers: []string{"ours", "theirs"}}
	found := map[string]results{
		subsFew: {cpu(1, 2, 9), cpu(4, 5, 3)},
		"many":  {cpu(3, 3, 3), {{BrokerMicros: 4}, {BrokerMicros: 5, Lost: 7}, {BrokerMicros: 6}}},
	}
	c.add(Case{Name: subsFew, Figures: throughput(0.4, "0.30 – 0.20")}, found)
	c.add(Case{Name: "many", Figures: []Figure{{Name: "growth", value: brokerMicros, base: subsFew, Limit: 1.6, Absolute: true}}}, found)
	c.add(Case{Name: "many", Figures: []Figure{{Name: "of nothing", value: brokerMicros, base: "not measured"}}}, found)
	c.Troubles, c.Unmeasured = c.Troubles[:1], []string{"last"}
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	// How it came about is in front, and changes.
	_, table, _ := strings.Cut(b.String(), "\n\n")
	const want = `| case     | figure                  | ours | theirs | ratio | limit        | FlashMQ's ratio |
|---       |---                      |---   |---     |---    |---           |---              |
| subs-100 | broker CPU, µs/delivery | 2.00 | 4.00   | 0.50  | ≤ 0.4 MISSED | 0.30 – 0.20     |
| many     | growth                  | 1.50 | 1.25   | 1.20  | ≤ 1.6        |                 |

Details, to judge the figures above by:

| case     | figure                          | ours   | theirs | ratio |
|---       |---                              |---     |---     |---    |
| subs-100 | deliveries/s                    | 500000 | 250000 | 2.00  |
| subs-100 | generator CPU, µs/delivery      | –      | –      |       |
| subs-100 | messages in a publisher's write | –      | –      |       |
| subs-100 | messages in a subscriber's read | –      | –      |       |

Trouble: many, theirs, round 2: 7 lost, 0 out of order, 0 repeated

No time was left for last.
`
	if table != want {
		t.Errorf("got\n%s\nwant\n%s", table, want)
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 3, 2, 100}, 3.5}} {
		if got := median(cpu(test.values...), brokerMicros); got != test.want {
			t.Errorf("median of %v: got %v, want %v", test.values, got, test.want)
		}
	}
}

// Cases that are divided by another's figures are measured in turn with it.
func TestFamilies(t *testing.T) {
	var got []string
	for _, family := range families([]Case{
		{Name: "a"}, {Name: "b"}, {Name: "c", Figures: []Figure{{}, {base: "a"}}}, {Name: "d", Figures: []Figure{{base: "not asked for"}}},
	}) {
		for _, c := range family {
			got = append(got, c.Name)
		}
		got = append(got, "|")
	}
	if text := strings.Join(got, ""); text != "ac|b|d|" {
		t.Errorf("got %s", text)
	}
}

func TestSelectCases(t *testing.T) {
	if all, err := SelectCases(nil); err != nil || len(all) != len(Cases()) {
		t.Errorf("%d cases, error %v", len(all), err)
	}
	if two, err := SelectCases([]string{"idle", "pairs-qos1"}); err != nil || len(two) != 2 || two[0].Name != "pairs-qos1" {
		t.Errorf("%d cases, error %v", len(two), err)
	}
	if group, err := SelectCases([]string{Stored, "idle"}); err != nil || len(group) < 5 || group[0].Name != "idle" || group[1].Group != Stored {
		t.Errorf("%d cases, error %v", len(group), err)
	}
	if _, err := SelectCases([]string{"dance"}); err == nil || !strings.Contains(err.Error(), "pairs-qos0") {
		t.Errorf("error %v", err)
	}
}

// mosquitto is another broker, or the end of the test.
func mosquitto(t *testing.T) Broker {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // where Debian puts it, outside of a user's PATH
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("mosquitto is not installed")
	}
	return Mosquitto(path)
}

// Brokers are started for each measurement, measured by their process, in turn, and gone afterwards.
func TestCompareMosquitto(t *testing.T) {
	b := mosquitto(t)
	o := small(Default(Pairs), "")
	var order []string
	var pids []int
	c, err := Compare(t.Context(), CompareOptions{
		Brokers: []Broker{b, b}, Rounds: 2, Duration: 200 * time.Millisecond,
		Cases: []Case{
			{Name: "pairs", Group: Live, Options: o, Figures: throughput(1, "")},
			{Name: "again", Group: Live, Options: o, Figures: []Figure{{Name: "×", value: brokerMicros, base: "pairs"}}},
		},
		Report: func(c Case, _ int, _ string, r Result) {
			order, pids = append(order, c.Name), append(pids, r.Options.PIDs...)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Rows) != 6 || len(c.Rows[0].Medians) != 2 || c.Rows[0].Medians[0] <= 0 || len(c.Troubles) > 0 {
		t.Errorf("%+v", c)
	}
	if got := strings.Join(order, " "); got != "pairs pairs again again pairs pairs again again" {
		t.Errorf("measured %s", got)
	}
	for _, pid := range pids {
		if _, err := process(pid).rss(); err == nil {
			t.Errorf("process %d still runs", pid)
		}
	}
}

// A bridge is measured between two brokers, both of which are started, told apart by what they take, and gone afterwards.
func TestCompareBridge(t *testing.T) {
	b, folder := mosquitto(t), t.TempDir()
	for _, version := range []byte{4, 5} {
		o := small(withQoS(Bridge, 1), "")
		o.To, o.Version, o.Durable = "hub", version, true
		var found Result
		c, err := Compare(t.Context(), CompareOptions{
			Brokers: []Broker{b}, Rounds: 1, Duration: 300 * time.Millisecond, Folder: folder,
			Cases:  []Case{{Name: "bridge", Group: Live, Options: o, Figures: bridgeCases()[0].Figures}},
			Report: func(_ Case, _ int, _ string, r Result) { found = r },
		})
		if err != nil {
			t.Fatal(err)
		}
		near, far := found.Options.Address, found.Options.To
		if len(c.Troubles) > 0 || found.Delivered == 0 || len(found.Processes) != 2 || near == far || far == "hub" {
			t.Errorf("version %d: %+v, %+v", version, c.Troubles, found)
		}
		for _, address := range []string{near, far} {
			if err := greet(t.Context(), address); err == nil {
				t.Errorf("there is still a broker at %s", address)
			}
		}
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
}

// The hub of an edge that does not start is ended, too.
func TestCompareEndsTheHub(t *testing.T) {
	b, folder, hub := mosquitto(t), t.TempDir(), ""
	right := b.config
	b.config = func(s settings) string {
		if hub = s.hub; hub != "" {
			return "what is this\n"
		}
		return right(s)
	}
	_, err := start(t.Context(), b, &Case{Group: Live, Options: withQoS(Bridge, 1)}, folder)
	if err == nil || !strings.Contains(err.Error(), "it ended at once") || hub == "" {
		t.Errorf("hub %q, error %v", hub, err)
	}
	if err := greet(t.Context(), hub); err == nil {
		t.Error("the hub still answers")
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
}

// A broker that is killed is started again on the same folder. This one has then lost what it acknowledged, which is told.
func TestCompareKills(t *testing.T) {
	b, folder := mosquitto(t), t.TempDir()
	if memory, err := isMemory(folder); err != nil || memory {
		t.Skip("the temporary folder is in memory")
	}
	k := Case{Name: "killed", Group: Stored, Ending: Killed, Options: smallBacklog(""), Figures: []Figure{
		{Name: "ready, s", value: func(r *Result) float64 { return r.Ready.Seconds() }},
	}}
	c, err := Compare(t.Context(), CompareOptions{Brokers: []Broker{b}, Cases: []Case{k}, Rounds: 1, Folder: folder, Messages: 50})
	if err != nil {
		t.Fatal(err)
	}
	if c.Rows[0].Medians[0] <= 0 || c.Messages != 50 || len(c.Troubles) != 1 || !strings.Contains(c.Troubles[0].Text, "50 lost") {
		t.Errorf("%+v", c)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
}

// Where nothing is on a disk, brokers with a store are not compared.
func TestCompareNeedsADisk(t *testing.T) {
	if memory, err := isMemory("/dev/shm"); err != nil || !memory {
		t.Skip("there is no file system in memory at /dev/shm")
	}
	cases, err := SelectCases([]string{"backlog"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Compare(t.Context(), CompareOptions{Brokers: []Broker{{Name: "b"}}, Cases: cases, Rounds: 1, Folder: "/dev/shm"})
	if err == nil || !strings.Contains(err.Error(), "in memory") {
		t.Errorf("error %v", err)
	}
}

// Penstock understands its configuration: without a data folder nothing is on disk, with one everything is synced.
func TestPenstockConfig(t *testing.T) {
	b := Penstock("penstock")
	for _, s := range []settings{
		{port: 1, window: 100, inflight: 100},
		{port: 1, window: 100, inflight: 2000},
		{port: 1, window: windowMax, inflight: windowMax, data: "/a folder/data", metrics: 2},
		{port: 1, window: 100, inflight: 100, channels: 1000, filter: "bench/#"},
		{port: 1, window: 100, inflight: 100, hub: "127.0.0.1:2", version: 4, filter: "bench/#"},
		{port: 1, window: 100, inflight: 100, hub: "127.0.0.1:2", version: 5, filter: "bench/#"},
	} {
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(b.config(s)), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := configs.Load(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Storage.Path != s.data || cfg.Storage.Sync != configs.SyncAlways || int(cfg.Limits.ReceiveMaximum) != s.window {
			t.Errorf("%+v, %+v", cfg.Storage, cfg.Limits)
		}
		if got, want := int(cfg.Limits.MaxInflight), max(int(configs.Default().Limits.MaxInflight), min(s.inflight, windowMax-1)); got != want {
			t.Errorf("%d may be on their way to a client, want %d", got, want)
		}
		if admin := cfg.Admin.Address; (admin == "") != (s.metrics == 0) {
			t.Errorf("admin at %q", admin)
		}
		if len(cfg.Channels) != s.channels || (len(cfg.Bridges) > 0) != (s.hub != "") {
			t.Errorf("%+v, %+v", cfg.Channels, cfg.Bridges)
		}
		for i, c := range cfg.Channels {
			if c.Name != channelName(i) || c.Filter != s.filter {
				t.Errorf("channel %d: %+v", i, c)
			}
		}
		for _, b := range cfg.Bridges {
			if want := map[byte]string{4: "3.1.1", 5: "5"}[s.version]; b.Address != "tcp://"+s.hub || b.Version != want || b.Topics[0].Filter != s.filter {
				t.Errorf("%+v", b)
			}
		}
	}
}

// A broker that ends at once fails the comparison with what it said.
func TestCompareTellsWhatABrokerSaid(t *testing.T) {
	path, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	b := Broker{
		Name: "broken", Path: path, config: func(settings) string { return "" },
		args: func(string) []string { return []string{"-c", "echo cannot >&2; exit 1"} },
	}
	_, err = Compare(t.Context(), CompareOptions{Brokers: []Broker{b}, Rounds: 1, Cases: Cases()[:1]})
	if err == nil || !strings.Contains(err.Error(), "broken") || !strings.Contains(err.Error(), "cannot") {
		t.Errorf("error %v", err)
	}
}
