package bench

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Of everything a broker says, the store's and the collector's numbers are taken, labels included.
func TestParseMetrics(t *testing.T) {
	const text = `# HELP penstock_storage_fsyncs_total Fsyncs.
# TYPE penstock_storage_fsyncs_total counter
penstock_storage_fsyncs_total 1.5e+03
penstock_storage_lost_total{reason="a b"} 2
penstock_sessions 7
go_gc_duration_seconds{quantile="1"} 0.0005
go_gc_duration_seconds_count 12
go_goroutines 9
`
	got, err := parseMetrics(strings.NewReader(text))
	want := samples{fsyncsMetric: 1500, `penstock_storage_lost_total{reason="a b"}`: 2, stopMetric: 0.0005, collectionsMetric: 12}
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
	w := newStoreWork(before, samples{fsyncsMetric: 30, messagesMetric: 1100, bytesMetric: 64_007, storePrefix + "x": 5}, 4)
	if w.Fsyncs != 20 || w.FsyncsPerSecond != 5 || w.MessagesPerFsync != 50 || w.BytesPerMessage != 64 || w.Metrics[storePrefix+"x"] != 5 {
		t.Errorf("%+v", w)
	}
	if w := newStoreWork(nil, samples{collectionsMetric: 1}, 1); w != nil || !math.IsNaN(w.messagesPerFsync()) {
		t.Errorf("%+v", w)
	}
}

// A collector is told of by the collections of the time that was measured, and by its longest stop of all time.
func TestCollectorWork(t *testing.T) {
	before := samples{collectionsMetric: 3, stopMetric: 0.001, stopsMetric: 0.002}
	w := newCollectorWork(before, samples{collectionsMetric: 11, stopMetric: 0.002, stopsMetric: 0.006, "x": 5}, 4)
	if w.Collections != 8 || w.CollectionsPerSecond != 2 || w.LongestStop != 2*time.Millisecond || w.MeanStop != time.Millisecond/2 {
		t.Errorf("%+v", w)
	}
	if w := newCollectorWork(before, samples{fsyncsMetric: 1}, 4); w != nil {
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
		fmt.Fprintln(w, collectionsMetric, asked*3)
	}))
	defer server.Close()
	o := small(withQoS(Pairs, 1), broker(t))
	o.Metrics = server.URL + "/metrics"
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if asked != 2 || r.Store == nil || r.Store.Fsyncs != 100 || r.Collector == nil || r.Collector.Collections != 3 {
		t.Errorf("asked %d times: %+v, %+v", asked, r.Store, r.Collector)
	}
	o.Metrics = server.URL + "/nothing"
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("error %v", err)
	}
}
