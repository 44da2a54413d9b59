package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
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
	if len(after) == 0 {
		return nil
	}
	w := &StoreWork{Metrics: maps.Clone(after)}
	for name, value := range before {
		w.Metrics[name] -= value
	}
	w.Fsyncs = w.Metrics[fsyncsMetric]
	w.FsyncsPerSecond = w.Fsyncs / seconds
	w.MessagesPerFsync = quotient(w.Metrics[messagesMetric], w.Fsyncs)
	w.BytesPerMessage = quotient(w.Metrics[bytesMetric], w.Metrics[messagesMetric])
	return w
}

// storeMetrics reads what a Prometheus endpoint says of Penstock's store.
func storeMetrics(url string) (samples, error) {
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

// parseMetrics takes the store's samples from the text format: a name, labels in braces perhaps, and a value.
func parseMetrics(r io.Reader) (samples, error) {
	found := make(samples)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, storePrefix) {
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
