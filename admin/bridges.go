package admin

import (
	"errors"
	"io"
	"net/http"
	"time"
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
