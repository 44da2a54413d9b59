package admin

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bridges is what operators may ask of a broker's bridges to others, and tell them.
type Bridges interface {
	// Bridges tells of every bridge, by name.
	Bridges() []BridgeStatus
	// Dropped counts, by reason, what bridges of other brokers brought and what was not published here.
	Dropped() map[string]uint64
	// Pause ends a connection until Resume.
	Pause(name string) error
	Resume(name string) error
	// Put makes or changes a bridge from its configuration, which is kept across restarts.
	Put(name string, yaml []byte) error
	// Delete removes a bridge that Put made, or that is no longer in the configuration, with its queue.
	Delete(name string) error
}

// Errors of Bridges that the client is to blame for.
var (
	ErrNoBridge  = errors.New("no such bridge")
	ErrBadBridge = errors.New("not possible")
)

// BridgeStatus is what can be told of a bridge. Durations are in nanoseconds, rates in messages a second.
type BridgeStatus struct {
	Name          string            `json:"name"`
	State         string            `json:"state"` // connecting, connected, waiting, idle, paused or removed
	Address       string            `json:"address"`
	Version       string            `json:"version,omitempty"` // of MQTT
	ClientID      string            `json:"client_id"`
	Since         time.Time         `json:"since"`              // of the state
	Reason        string            `json:"reason,omitempty"`   // what went wrong last
	ReasonAt      time.Time         `json:"reason_at,omitzero"` //
	Refused       []string          `json:"refused,omitempty"`  // subscriptions that the other broker refused
	QueueMessages int64             `json:"queue_messages"`     //
	QueueBytes    int64             `json:"queue_bytes"`        //
	QueueAge      time.Duration     `json:"queue_age_ns"`       // of the oldest message
	Inflight      int               `json:"inflight"`           //
	Sent          uint64            `json:"sent"`               // acknowledged by the other broker
	Received      uint64            `json:"received"`           //
	SentBytes     uint64            `json:"sent_bytes"`         //
	ReceivedBytes uint64            `json:"received_bytes"`     //
	SentRate      float64           `json:"sent_rate"`          //
	ReceivedRate  float64           `json:"received_rate"`      //
	Resent        uint64            `json:"resent"`             // PUBLISH packets
	Connects      uint64            `json:"connects"`           //
	RoundTrip     time.Duration     `json:"round_trip_ns"`      //
	Dropped       map[string]uint64 `json:"dropped"`            // by reason
}

// BridgesPath is where bridges are asked for; below it stands a bridge's name, and then pause or resume.
const BridgesPath = "/api/bridges"

// bridgeTextMax bounds the configuration of one bridge.
const bridgeTextMax = 64 << 10

// ServeBridges adds the bridges to what is served. It may be called once.
func (s *Server) ServeBridges(b Bridges) {
	const one = BridgesPath + "/{name}"
	change := func(pattern string, f func(name string) error) {
		s.operate(pattern, func(w http.ResponseWriter, r *http.Request) { sayBridgeError(w, f(r.PathValue("name"))) })
	}
	change("POST "+one+"/pause", b.Pause)
	change("POST "+one+"/resume", b.Resume)
	change("DELETE "+one, b.Delete)
	s.operate("GET "+BridgesPath, func(w http.ResponseWriter, _ *http.Request) { sayJSON(w, http.StatusOK, b.Bridges()) })
	s.operate("GET "+one, func(w http.ResponseWriter, r *http.Request) {
		for _, status := range b.Bridges() {
			if status.Name == r.PathValue("name") {
				sayJSON(w, http.StatusOK, status)
				return
			}
		}
		sayBridgeError(w, ErrNoBridge)
	})
	s.operate("PUT "+one, func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bridgeTextMax))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		sayBridgeError(w, b.Put(r.PathValue("name"), text))
	})
	s.registry.MustRegister(newBridgeCollector(b))
}

// sayBridgeError answers a request that changes something.
func sayBridgeError(w http.ResponseWriter, err error) {
	switch {
	case err == nil:
		say(w, http.StatusOK, "ok\n")
	case errors.Is(err, ErrNoBridge):
		say(w, http.StatusNotFound, err.Error()+"\n")
	case errors.Is(err, ErrBadBridge):
		say(w, http.StatusBadRequest, err.Error()+"\n")
	default:
		say(w, http.StatusInternalServerError, err.Error()+"\n")
	}
}

// A bridgeCollector turns snapshots of the bridges into metrics, each labelled with the bridge's name.
type bridgeCollector struct {
	bridges  Bridges
	numbers  []bridgeNumber
	dropped  *prometheus.Desc
	repeated *prometheus.Desc
}

type bridgeNumber struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*BridgeStatus) float64
}

func bridgeDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("penstock_bridge_"+name, help, labels, nil)
}

func newBridgeCollector(b Bridges) *bridgeCollector {
	gauge := func(name, help string, of func(*BridgeStatus) float64) bridgeNumber {
		return bridgeNumber{bridgeDesc(name, help, "bridge"), prometheus.GaugeValue, of}
	}
	counter := func(name, help string, of func(*BridgeStatus) float64) bridgeNumber {
		return bridgeNumber{bridgeDesc(name, help, "bridge"), prometheus.CounterValue, of}
	}
	return &bridgeCollector{
		bridges:  b,
		dropped:  bridgeDesc("messages_dropped_total", "Messages that a bridge did not deliver, by reason.", "bridge", "reason"),
		repeated: bridgeDesc("peer_messages_dropped_total", "Messages that bridges of other brokers brought and that were here before, by reason.", "reason"),
		numbers: []bridgeNumber{
			gauge("connected", "1 while the bridge is connected.", func(s *BridgeStatus) float64 {
				if s.State == "connected" {
					return 1
				}
				return 0
			}),
			gauge("queue_messages", "Messages that wait for the other broker.", func(s *BridgeStatus) float64 { return float64(s.QueueMessages) }),
			gauge("queue_bytes", "Bytes of penstock_bridge_queue_messages.", func(s *BridgeStatus) float64 { return float64(s.QueueBytes) }),
			gauge("queue_age_seconds", "Age of the oldest message that waits.", func(s *BridgeStatus) float64 { return s.QueueAge.Seconds() }),
			gauge("inflight_messages", "Messages sent and not acknowledged.", func(s *BridgeStatus) float64 { return float64(s.Inflight) }),
			gauge("round_trip_seconds", "Smoothed time from PUBLISH to its acknowledgement.", func(s *BridgeStatus) float64 { return s.RoundTrip.Seconds() }),
			counter("messages_sent_total", "Messages that the other broker acknowledged, or of QoS 0.", func(s *BridgeStatus) float64 { return float64(s.Sent) }),
			counter("messages_received_total", "Messages from the other broker.", func(s *BridgeStatus) float64 { return float64(s.Received) }),
			counter("bytes_sent_total", "Bytes of penstock_bridge_messages_sent_total.", func(s *BridgeStatus) float64 { return float64(s.SentBytes) }),
			counter("bytes_received_total", "Bytes of penstock_bridge_messages_received_total.", func(s *BridgeStatus) float64 { return float64(s.ReceivedBytes) }),
			counter("messages_resent_total", "PUBLISH packets sent again.", func(s *BridgeStatus) float64 { return float64(s.Resent) }),
			counter("connects_total", "Connections made.", func(s *BridgeStatus) float64 { return float64(s.Connects) }),
		},
	}
}

// Describe sends the metrics' descriptions.
func (c *bridgeCollector) Describe(to chan<- *prometheus.Desc) {
	for _, n := range c.numbers {
		to <- n.desc
	}
	to <- c.dropped
	to <- c.repeated
}

// Collect sends the metrics of one snapshot.
func (c *bridgeCollector) Collect(to chan<- prometheus.Metric) {
	for _, s := range c.bridges.Bridges() {
		for _, n := range c.numbers {
			to <- prometheus.MustNewConstMetric(n.desc, n.kind, n.of(&s), s.Name)
		}
		for reason, n := range s.Dropped {
			to <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(n), s.Name, reason)
		}
	}
	for reason, n := range c.bridges.Dropped() {
		to <- prometheus.MustNewConstMetric(c.repeated, prometheus.CounterValue, float64(n), reason)
	}
}
