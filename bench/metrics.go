package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// samples are values of metrics by name, labels included.
type samples map[string]float64

const (
	storePrefix    = "penstock_storage_"
	fsyncsMetric   = storePrefix + "fsyncs_total"
	messagesMetric = storePrefix + "committed_messages_total"
	bytesMetric    = storePrefix + "written_bytes_total"

	// Go's runtime says of each of the last 256 collections for how long it stopped the program, in its two stops together and with
	// the wait until every thread stood: the longest. Since the program began: the time in all, and how many collections there were.
	collectorPrefix   = "go_gc_duration_seconds"
	stopMetric        = collectorPrefix + `{quantile="1"}`
	stopsMetric       = collectorPrefix + "_sum"
	collectionsMetric = collectorPrefix + "_count"

	metricsTimeout = 10 * time.Second
)

// StoreWork is what a broker says of its store while something was measured.
type StoreWork struct {
	Fsyncs           float64 `json:"fsyncs"`
	FsyncsPerSecond  float64 `json:"fsyncs_per_second"`
	MessagesPerFsync float64 `json:"messages_per_fsync"`
	BytesPerMessage  float64 `json:"bytes_per_message"` // written for each, with acknowledgements and whatever else
	// Metrics is by how much each metric of the store rose or fell.
	Metrics map[string]float64 `json:"metrics"`
}

// newStoreWork is nil if there is nothing to tell.
func newStoreWork(before, after samples, seconds float64) *StoreWork {
	of := after.under(storePrefix)
	if len(of) == 0 {
		return nil
	}
	w := &StoreWork{Metrics: of}
	for name, value := range before.under(storePrefix) {
		w.Metrics[name] -= value
	}
	w.Fsyncs = w.Metrics[fsyncsMetric]
	w.FsyncsPerSecond = w.Fsyncs / seconds
	w.MessagesPerFsync = quotient(w.Metrics[messagesMetric], w.Fsyncs)
	w.BytesPerMessage = quotient(w.Metrics[bytesMetric], w.Metrics[messagesMetric])
	return w
}

// CollectorWork is what a broker written in Go says of its garbage collector.
type CollectorWork struct {
	Collections          float64       `json:"collections"` // while something was measured
	CollectionsPerSecond float64       `json:"collections_per_second"`
	MeanStop             time.Duration `json:"mean_stop_ns"` // for which one of those stopped the program
	// LongestStop is the longest of all since the broker began.
	LongestStop time.Duration `json:"longest_stop_ns"`
}

// newCollectorWork is nil if there is nothing to tell.
func newCollectorWork(before, after samples, seconds float64) *CollectorWork {
	total, known := after[collectionsMetric]
	if !known {
		return nil
	}
	n := total - before[collectionsMetric]
	return &CollectorWork{
		Collections: n, CollectionsPerSecond: n / seconds,
		MeanStop: inSeconds(quotient(after[stopsMetric]-before[stopsMetric], n)), LongestStop: inSeconds(after[stopMetric]),
	}
}

func inSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// under are the samples whose names begin with a prefix.
func (s samples) under(prefix string) samples {
	found := make(samples)
	for name, value := range s {
		if strings.HasPrefix(name, prefix) {
			found[name] = value
		}
	}
	return found
}

// readMetrics reads what a Prometheus endpoint says of Penstock's store and of its collector.
func readMetrics(url string) (samples, error) {
	client := http.Client{Timeout: metricsTimeout}
	answer, err := client.Get(url)
	if err != nil {
		return nil, fmt.Errorf("bench: metrics: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("bench: metrics: %s answers %s", url, answer.Status)
	}
	found, err := parseMetrics(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("bench: metrics: %s: %w", url, err)
	}
	return found, nil
}

var errMetrics = errors.New("not in Prometheus' text format")

// parseMetrics takes the store's and the collector's samples from the text format: a name, labels in braces perhaps, and a value.
func parseMetrics(r io.Reader) (samples, error) {
	found := make(samples)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, storePrefix) && !strings.HasPrefix(line, collectorPrefix) {
			continue
		}
		at := strings.LastIndexByte(line, ' ') // the broker writes no timestamps behind its values
		if at < 0 {
			return nil, fmt.Errorf("%w: %q", errMetrics, line)
		}
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("%w: %q", errMetrics, line)
		}
		found[line[:at]] = value
	}
	return found, lines.Err()
}
