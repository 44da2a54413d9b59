package bench

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
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
	c.add(Case{Name: subsFew, Figures: throughput(0.4)}, found)
	c.add(Case{Name: "many", Figures: []Figure{{Name: "growth", value: brokerMicros, base: subsFew, Limit: 1.6, Absolute: true}}}, found)
	c.add(Case{Name: "many", Figures: []Figure{{Name: "of nothing", value: brokerMicros, base: "not measured"}}}, found)
	c.Troubles = c.Troubles[:1]
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	// How it came about is in front, and changes.
	_, table, _ := strings.Cut(b.String(), "\n\n")
	const want = `| case     | figure                  | ours   | theirs | ratio | limit        |
|---       |---                      |---     |---     |---    |---           |
| subs-100 | broker CPU, µs/delivery | 2.00   | 4.00   | 0.50  | ≤ 0.4 MISSED |
| subs-100 | deliveries/s            | 500000 | 250000 | 2.00  |              |
| many     | growth                  | 1.50   | 1.25   | 1.20  | ≤ 1.6        |

Trouble: many, theirs, round 2: 7 lost, 0 out of order, 0 repeated
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

func TestSelectCases(t *testing.T) {
	if all, err := SelectCases(nil); err != nil || len(all) != len(Cases()) {
		t.Errorf("%d cases, error %v", len(all), err)
	}
	if two, err := SelectCases([]string{"idle", "pairs-qos1"}); err != nil || len(two) != 2 || two[0].Name != "pairs-qos1" {
		t.Errorf("%d cases, error %v", len(two), err)
	}
	if _, err := SelectCases([]string{"dance"}); err == nil || !strings.Contains(err.Error(), "pairs-qos0") {
		t.Errorf("error %v", err)
	}
}

// A broker is started for each measurement, measured by its process, and gone afterwards.
func TestCompareMosquitto(t *testing.T) {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // where Debian puts it, outside of a user's PATH
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("mosquitto is not installed")
	}
	o := small(Default(Pairs), "")
	var pids []int
	c, err := Compare(t.Context(), CompareOptions{
		Brokers: []Broker{Mosquitto(path), Mosquitto(path)}, Rounds: 2, Duration: 200 * time.Millisecond,
		Cases:  []Case{{Name: "pairs", Options: o, Figures: throughput(1)}},
		Report: func(_ Case, _ int, _ string, r Result) { pids = append(pids, r.Options.PID) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Rows) != 2 || len(c.Rows[0].Medians) != 2 || c.Rows[0].Medians[0] <= 0 || len(c.Troubles) > 0 {
		t.Errorf("%+v", c)
	}
	if len(pids) != 4 {
		t.Fatalf("%d measurements", len(pids))
	}
	for _, pid := range pids {
		if _, err := process(pid).rss(); err == nil {
			t.Errorf("process %d still runs", pid)
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
