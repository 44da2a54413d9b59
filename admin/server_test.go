package admin

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// A fixedSource always has the same numbers and counts how often it is asked.
type fixedSource struct {
	stats broker.Stats
	mu    sync.Mutex
	asked int
}

func (f *fixedSource) Stats() broker.Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return f.stats
}

func open(t *testing.T, cfg configs.Admin, src Source) (*Server, *strings.Builder) {
	t.Helper()
	if cfg.Address == "" {
		cfg.Address = "127.0.0.1:0"
	}
	log := new(strings.Builder)
	s, err := Open(cfg, src, nil, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, log
}

// get fetches a path with an Authorization header and returns status and body.
func get(t *testing.T, s *Server, path, authorization string) (int, string) {
	t.Helper()
	return ask(t, s, http.MethodGet, path, "", map[string]string{"Authorization": authorization})
}

// ask sends a request and returns status and body.
func ask(t *testing.T, s *Server, method, path, text string, header map[string]string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+s.Addr().String()+path, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range header {
		r.Header.Set(key, value)
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// A family is a scraped metric.
type family struct {
	kind, help string
	values     map[string]float64 // by the value of the label reason, "" for a metric without labels
}

func scrape(t *testing.T, s *Server) map[string]family {
	t.Helper()
	status, body := get(t, s, "/metrics", "")
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	parsed, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	families := make(map[string]family)
	for name, p := range parsed {
		f := family{p.GetType().String(), p.GetHelp(), make(map[string]float64)}
		for _, m := range p.GetMetric() {
			reason := ""
			if l := m.GetLabel(); len(l) == 1 && l[0].GetName() == "reason" {
				reason = l[0].GetValue()
			}
			f.values[reason] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
		families[name] = f
	}
	return families
}

// Every number of the snapshot is a metric, gauges as gauges and counters as counters named _total, and
// one scrape takes one snapshot.
func TestEveryStatIsScraped(t *testing.T) {
	src := new(fixedSource)
	expected := make(map[float64]string) // value -> field
	fields := reflect.ValueOf(&src.stats).Elem()
	for i := range fields.NumField() {
		name, value := fields.Type().Field(i).Name, uint64(1000+i)
		switch f := fields.Field(i); {
		case f.Type() == reflect.TypeFor[time.Time]():
			f.Set(reflect.ValueOf(time.Unix(int64(value), 0)))
		case f.CanInt():
			f.SetInt(int64(value))
		case f.CanUint():
			f.SetUint(value)
		case f.Kind() == reflect.Map:
			f.Set(reflect.MakeMap(f.Type()))
			f.SetMapIndex(reflect.ValueOf("why").Convert(f.Type().Key()), reflect.ValueOf(value))
		default:
			t.Fatalf("Stats.%s is a %s: teach this test", name, f.Type())
		}
		expected[float64(value)] = name
	}
	s, _ := open(t, configs.Admin{}, src)
	for name, f := range scrape(t, s) {
		if !strings.HasPrefix(name, "penstock_") {
			continue
		}
		if (f.kind == "COUNTER") != strings.HasSuffix(name, "_total") || f.help == "" {
			t.Errorf("%s is a %s with help %q", name, f.kind, f.help)
		}
		for _, value := range f.values {
			if _, ok := expected[value]; !ok {
				t.Errorf("%s is %v, which is no field's value or was seen before", name, value)
			}
			delete(expected, value)
		}
	}
	for value, field := range expected {
		t.Errorf("Stats.%s = %v was not scraped", field, value)
	}
	if src.asked != 1 {
		t.Errorf("one scrape took %d snapshots", src.asked)
	}
}

func TestReasonsAreLabels(t *testing.T) {
	src := &fixedSource{stats: broker.Stats{
		Refused: map[string]uint64{"tls_handshake": 3, "proxy_header": 4},
		Dropped: map[hooks.DropReason]uint64{hooks.DropOutboxFull: 5},
	}}
	s, _ := open(t, configs.Admin{}, src)
	families := scrape(t, s)
	for metric, want := range map[string]map[string]float64{
		"penstock_connections_refused_total": {"tls_handshake": 3, "proxy_header": 4},
		"penstock_messages_dropped_total":    {string(hooks.DropOutboxFull): 5},
	} {
		if got := families[metric].values; !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", metric, got, want)
		}
	}
}

func TestProcessAndGoAreScraped(t *testing.T) {
	s, _ := open(t, configs.Admin{}, new(fixedSource))
	families := scrape(t, s)
	for _, name := range []string{"go_goroutines", "go_build_info", "process_cpu_seconds_total"} {
		if _, ok := families[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestReadiness(t *testing.T) {
	s, _ := open(t, configs.Admin{Token: "secret"}, new(fixedSource)) // health asks for no token
	expect := func(path string, want int) {
		t.Helper()
		if status, body := get(t, s, path, ""); status != want || body == "" {
			t.Errorf("%s: %d %q, want %d", path, status, body, want)
		}
	}
	expect("/healthz", http.StatusOK)
	expect("/readyz", http.StatusServiceUnavailable)
	s.SetReady(true)
	expect("/readyz", http.StatusOK)
	s.SetReady(false)
	expect("/readyz", http.StatusServiceUnavailable)
	expect("/", http.StatusOK)
	expect("/anything", http.StatusNotFound)
}

func TestMetricsAskForTheToken(t *testing.T) {
	s, _ := open(t, configs.Admin{Token: "secret"}, new(fixedSource))
	for authorization, want := range map[string]int{
		"":               http.StatusUnauthorized,
		"Bearer":         http.StatusUnauthorized,
		"Bearer wrong":   http.StatusUnauthorized,
		"Bearer secret1": http.StatusUnauthorized,
		"Basic secret":   http.StatusUnauthorized,
		"Bearer secret":  http.StatusOK,
		"bearer secret":  http.StatusOK, // schemes know no case (RFC 9110, 11.1)
	} {
		if status, _ := get(t, s, "/metrics", authorization); status != want {
			t.Errorf("Authorization %q: %d, want %d", authorization, status, want)
		}
	}
}

// Metrics that anyone can read are worth a warning; those behind a token or on this machine only are not.
func TestOpenMetricsAreWarnedOf(t *testing.T) {
	for _, c := range []struct {
		cfg    configs.Admin
		warned bool
	}{
		{configs.Admin{Address: "0.0.0.0:0"}, true},
		{configs.Admin{Address: "0.0.0.0:0", Token: "secret"}, false},
		{configs.Admin{Address: "127.0.0.1:0"}, false},
	} {
		if _, log := open(t, c.cfg, new(fixedSource)); strings.Contains(log.String(), "admin.token") != c.warned {
			t.Errorf("%+v: log is %q", c.cfg, log)
		}
	}
}

func TestOpenFailsWithTheAddress(t *testing.T) {
	first, _ := open(t, configs.Admin{}, new(fixedSource))
	taken := first.Addr().String()
	_, err := Open(configs.Admin{Address: taken}, new(fixedSource), nil, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), taken) {
		t.Errorf("%v, want an error that names %s", err, taken)
	}
}

// Close stops listening; twice is harmless.
func TestClose(t *testing.T) {
	s, _ := open(t, configs.Admin{}, new(fixedSource))
	for range 2 {
		if err := s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if response, err := http.Get("http://" + s.Addr().String() + "/healthz"); err == nil {
		response.Body.Close()
		t.Error("a closed server answered")
	}
}
