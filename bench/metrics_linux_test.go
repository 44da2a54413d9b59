package bench

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Of everything a broker says, the store's numbers are taken, labels included.
func TestParseMetrics(t *testing.T) {
	const text = `# HELP penstock_storage_fsyncs_total Fsyncs.
# TYPE penstock_storage_fsyncs_total counter
penstock_storage_fsyncs_total 1.5e+03
penstock_storage_lost_total{reason="a b"} 2
penstock_sessions 7
`
	got, err := parseMetrics(strings.NewReader(text))
	want := samples{fsyncsMetric: 1500, `penstock_storage_lost_total{reason="a b"}`: 2}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, error %v", got, err)
	}
	for _, bad := range []string{"penstock_storage_x", "penstock_storage_x much"} {
		if _, err := parseMetrics(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// A broker's store is told of by how much its numbers changed, and not at all if it has none.
func TestStoreWork(t *testing.T) {
	before := samples{fsyncsMetric: 10, messagesMetric: 100, bytesMetric: 7}
	w := newStoreWork(before, samples{fsyncsMetric: 30, messagesMetric: 1100, bytesMetric: 64_007, "x": 5}, 4)
	if w.Fsyncs != 20 || w.FsyncsPerSecond != 5 || w.MessagesPerFsync != 50 || w.BytesPerMessage != 64 || w.Metrics["x"] != 5 {
		t.Errorf("%+v", w)
	}
	if w := newStoreWork(nil, samples{}, 1); w != nil || w.messagesPerFsync() != 0 {
		t.Errorf("%+v", w)
	}
}

// Metrics are read before and after, and a broker that does not serve them is an error.
func TestRunReadsMetrics(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		asked++
		fmt.Fprintln(w, fsyncsMetric, asked*100)
	}))
	defer server.Close()
	o := small(withQoS(Pairs, 1), broker(t))
	o.Metrics = server.URL + "/metrics"
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if asked != 2 || r.Store == nil || r.Store.Fsyncs != 100 {
		t.Errorf("asked %d times: %+v", asked, r.Store)
	}
	o.Metrics = server.URL + "/nothing"
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("error %v", err)
	}
}
