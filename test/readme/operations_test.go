package readme

import (
	"io"
	"net"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/bridge"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
)

var (
	metric  = regexp.MustCompile(`(?m)^# TYPE (penstock_\S+)`)
	average = regexp.MustCompile(`/(5|15)min$`)
	labels  = regexp.MustCompile(`\{[a-z,]+\}$`)
	quoted  = regexp.MustCompile("`([^`\n]+)`") // not the fences of blocks
)

// docs/operations.md names every limit, metric, reason and $SYS topic that there is, and no metric or topic that there is not.
func TestOperations(t *testing.T) {
	named := make(map[string]bool)
	for _, m := range quoted.FindAllStringSubmatch(readPage(t, "docs/operations.md"), -1) {
		named[labels.ReplaceAllString(m[1], "")] = true
	}
	limits := reflect.TypeFor[configs.Limits]()
	for i := range limits.NumField() {
		if key := limits.Field(i).Tag.Get("mapstructure"); !named[key] {
			t.Errorf("the limit %s is missing", key)
		}
	}
	for _, reason := range hooks.DropReasons {
		if !named[string(reason)] {
			t.Errorf("the reason %s is missing", reason)
		}
	}
	for _, reason := range bridge.DropReasons {
		if !named[reason] {
			t.Errorf("the reason %s of bridges is missing", reason)
		}
	}
	// A bridge, so that its metrics are there; it leads nowhere.
	at := startBroker(t, "--config", save(t, "penstock.yaml", "bridges: [{name: none, address: 'tcp://127.0.0.1:1', topics: [{filter: x}]}]\n"))
	exist := make(map[string]bool)
	for _, topic := range sysTopics(t, at["tcp"]) {
		exist[topic] = true
	}
	beRefused(t, at["tcp"])
	output(t, "", nil, program, "channel", "--address", at["http"], "create", "jobs", "jobs/#") // a channel has metrics
	for _, m := range metric.FindAllStringSubmatch(scrape(t, at["http"]), -1) {
		exist[m[1]] = true
	}
	for name := range exist {
		if !named[name] {
			t.Errorf("%s is missing", name)
		}
	}
	for name := range named {
		if (strings.HasPrefix(name, "penstock_") || strings.HasPrefix(name, "load/")) && !exist[name] {
			t.Errorf("there is no %s", name)
		}
	}
}

// beRefused has a connection counted that is not accepted: metrics with reasons exist from the first of each.
func beRefused(t *testing.T, address string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, c) // until the broker closes it
}

func scrape(t *testing.T, address string) string {
	t.Helper()
	response, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sysTopics lists the broker's topics, without the three parts of an average and the reasons of drops.
func sysTopics(t *testing.T, address string) (topics []string) {
	t.Helper()
	out := output(t, "", nil, program, "sub", "--url", "mqtt://"+address, "-t", "$SYS/#", "-F", "%t", "-W", "1")
	for line := range strings.Lines(out) {
		topic := strings.TrimSuffix(strings.TrimPrefix(line, "$SYS/broker/"), "\n")
		if strings.HasPrefix(topic, "$SYS/bridges/") {
			continue
		}
		if !strings.HasPrefix(topic, "publish/messages/dropped/") && !average.MatchString(topic) {
			topics = append(topics, topic)
		}
	}
	if len(topics) < 20 {
		t.Fatalf("only %q came", topics)
	}
	return topics
}
