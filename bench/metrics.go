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
	commitsMetric  = storePrefix + "commits_total"
	metricsTimeout = 10 * time.Second
)

// StoreWork is what a broker says of its store while something was measured.
type StoreWork struct {
	// Commits are group commits; with storage.sync: always, each is one fsync.
	Commits           float64 `json:"commits"`
	CommitsPerSecond  float64 `json:"commits_per_second"`
	MessagesPerCommit float64 `json:"messages_per_commit"` // published ones
	// Metrics is by how much each metric of the store rose or fell.
	Metrics map[string]float64 `json:"metrics"`
}

// newStoreWork is nil if there is nothing to tell.
func newStoreWork(before, after samples, s *Stage) *StoreWork {
	if len(after) == 0 {
		return nil
	}
	w := &StoreWork{Metrics: maps.Clone(after)}
	for name, value := range before {
		w.Metrics[name] -= value
	}
	w.Commits = w.Metrics[commitsMetric]
	w.CommitsPerSecond = w.Commits / s.Seconds
	if w.Commits > 0 {
		w.MessagesPerCommit = float64(s.Published) / w.Commits
	}
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
