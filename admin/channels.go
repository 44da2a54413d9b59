package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Channels is what operators may ask of a broker's channels, and tell them. What changes something returns when that is on disk, or
// with ErrOngoing when ctx ends before.
type Channels interface {
	// Channels tells of every channel, by name.
	Channels() []ChannelStatus
	// Channel tells everything about one.
	Channel(name string) (ChannelDetail, error)
	// Deferred is how many messages were published with a delay and are not due.
	Deferred() int
	// Create makes a channel from its settings, YAML or JSON with the keys of the configuration. It is kept across restarts.
	Create(ctx context.Context, name string, settings []byte) error
	// Delete removes a channel that is not in the configuration, with its messages.
	Delete(ctx context.Context, name string) error
	// Pause stops a channel from handing messages out, until Resume.
	Pause(ctx context.Context, name string) error
	Resume(ctx context.Context, name string) error
	// Empty drops every message of a channel and tells how many.
	Empty(ctx context.Context, name string) (dropped uint64, err error)
	// Peek shows up to count messages with numbers from from on, and changes nothing.
	Peek(name string, from uint64, count int) ([]PeekedMessage, error)
	// Requeue puts dead letters back into the channels that they come from, those with these numbers, all if there are none.
	Requeue(ctx context.Context, name string, numbers []uint64) (Requeued, error)
}

// Errors of Channels that say what became of a request.
var (
	ErrNoChannel = errors.New("no such channel")
	ErrConflict  = errors.New("not possible now")
	ErrOngoing   = errors.New("it is not done yet, and goes on")
)

// A FieldError is a mistake in what a client sent, in one field if Field is not empty.
type FieldError struct {
	Field string
	Err   error
}

// Error names the field and what was expected.
func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Err.Error()
	}
	return e.Field + ": " + e.Err.Error()
}

// Unwrap is what was expected.
func (e *FieldError) Unwrap() error { return e.Err }

// ChannelStatus is what can be told of a channel in a line. Durations are in nanoseconds, rates in messages a second over the last ten
// seconds; counts are since the broker started.
type ChannelStatus struct {
	Name    string    `json:"name"`
	Filter  string    `json:"filter"`
	Origin  string    `json:"origin"` // config, runtime, auto, dead_letter or retired
	Created time.Time `json:"created"`
	Paused  bool      `json:"paused"`

	Depth     int           `json:"depth"`         // messages that no member has dealt with, those in flight and deferred included
	Bytes     int64         `json:"bytes"`         // of those
	InFlight  int           `json:"in_flight"`     // handed to members and not acknowledged
	Deferred  int           `json:"deferred"`      // waiting for the time of another attempt
	OldestAge time.Duration `json:"oldest_age_ns"` // of what no member has dealt with

	Queued       uint64            `json:"queued"`        // messages that came in
	Delivered    uint64            `json:"delivered"`     // handed to members
	Acked        uint64            `json:"acked"`         // dealt with
	Unconfirmed  uint64            `json:"unconfirmed"`   // of these, to members with QoS 0
	Requeued     uint64            `json:"requeued"`      // handed out, and back
	Failed       uint64            `json:"failed"`        // attempts, those that timed out included
	TimedOut     uint64            `json:"timed_out"`     //
	DeadLettered uint64            `json:"dead_lettered"` //
	PutBack      uint64            `json:"put_back"`      // dead letters, into the channels that they came from
	Dropped      map[string]uint64 `json:"dropped"`       // by reason

	RateIn        float64       `json:"rate_in"`        //
	RateOut       float64       `json:"rate_out"`       // handed out
	Drain         time.Duration `json:"drain_ns"`       // until it is empty at these rates; negative if it does not empty
	MemberCount   int           `json:"member_count"`   //
	MembersOnline int           `json:"members_online"` // of these
}

// ChannelDetail is everything about a channel.
type ChannelDetail struct {
	ChannelStatus
	Settings map[string]any  `json:"settings"` // by the keys of the configuration
	Members  []ChannelMember `json:"members"`  // by client
}

// A ChannelMember is a subscription that takes messages of a channel.
type ChannelMember struct {
	Client    string  `json:"client"`
	Filter    string  `json:"filter"`
	QoS       byte    `json:"qos"`
	Online    bool    `json:"online"`
	InFlight  int     `json:"in_flight"`
	Delivered uint64  `json:"delivered"`
	Acked     uint64  `json:"acked"`
	Share     float64 `json:"share"` // of what all members that are there now acknowledged, from 0 to 1
}

// A PeekedMessage is a message in a channel.
type PeekedMessage struct {
	Number     uint64         `json:"number"`
	Topic      string         `json:"topic"`
	Payload    string         `json:"payload"`
	Base64     []byte         `json:"payload_base64,omitempty"` // instead, if it is no UTF-8
	QoS        byte           `json:"qos"`
	Retain     bool           `json:"retain,omitempty"`
	Publisher  string         `json:"publisher,omitempty"`
	Received   time.Time      `json:"received"`
	Expires    time.Time      `json:"expires,omitzero"`
	User       []UserProperty `json:"user_properties,omitempty"`
	DeadLetter bool           `json:"dead_letter,omitempty"` // it can be put back
	Client     string         `json:"client,omitempty"`      // that has it
	Deliveries uint32         `json:"deliveries"`
	Failures   uint32         `json:"failures"`
	Due        time.Time      `json:"due,omitzero"` // of the next attempt, if it waits for that
}

// A UserProperty is one of a message of MQTT 5.
type UserProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Requeued is what became of dead letters.
type Requeued struct {
	Moved uint64 `json:"moved"`
	Stay  int    `json:"stay"` // they are no dead letters, or their channel is gone
}

// ChannelsPath is where channels are asked for; below it stands a channel's name, and then what is to be done.
const ChannelsPath = "/api/channels"

const (
	// channelTextMax bounds the settings of one channel and the list of dead letters to put back.
	channelTextMax = 1 << 20
	// channelPatience is how long a request waits for the disk; it is below the time that an answer may take.
	channelPatience = 20 * time.Second
	peekCount       = 10 // messages, if nothing is said
	peekCountMax    = 1000
)

// ServeChannels adds the channels to what is served, and to the metrics. It may be called once.
func (s *Server) ServeChannels(c Channels) {
	serve := func(pattern string, f func(r *http.Request) (any, error)) {
		s.operate(pattern, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), channelPatience)
			defer cancel()
			answer, err := f(r.WithContext(ctx))
			if err != nil {
				sayChannelError(w, err)
				return
			}
			sayJSON(w, http.StatusOK, answer)
		})
	}
	const one = ChannelsPath + "/{name}"
	serve("GET "+ChannelsPath, func(*http.Request) (any, error) { return c.Channels(), nil })
	serve("GET "+one, func(r *http.Request) (any, error) { return c.Channel(r.PathValue("name")) })
	serve("GET "+one+"/peek", func(r *http.Request) (any, error) { return peek(c, r) })
	serve("POST "+one, func(r *http.Request) (any, error) { return createChannel(c, r) })
	serve("POST "+one+"/requeue", func(r *http.Request) (any, error) { return requeue(c, r) })
	serve("POST "+one+"/empty", func(r *http.Request) (any, error) {
		dropped, err := c.Empty(r.Context(), r.PathValue("name"))
		return map[string]uint64{"dropped": dropped}, err
	})
	for pattern, change := range map[string]func(context.Context, string) error{
		"DELETE " + one: c.Delete, "POST " + one + "/pause": c.Pause, "POST " + one + "/resume": c.Resume,
	} {
		serve(pattern, func(r *http.Request) (any, error) { return struct{}{}, change(r.Context(), r.PathValue("name")) })
	}
	s.registry.MustRegister(newChannelCollector(c, s.channelMetrics))
}

func createChannel(c Channels, r *http.Request) (any, error) {
	text, err := body(r)
	if err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	if err := c.Create(r.Context(), name, text); err != nil {
		return nil, err
	}
	return c.Channel(name)
}

func peek(c Channels, r *http.Request) (any, error) {
	query := r.URL.Query()
	count, err := numberIn(query.Get("n"), peekCount, peekCountMax)
	if err != nil {
		return nil, &FieldError{"n", err}
	}
	from, err := numberIn(query.Get("from"), 0, math.MaxInt64)
	if err != nil {
		return nil, &FieldError{"from", err}
	}
	return c.Peek(r.PathValue("name"), from, int(count))
}

// numberIn reads a number from 0 to most.
func numberIn(text string, absent, most uint64) (uint64, error) {
	if text == "" {
		return absent, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > most {
		return 0, fmt.Errorf("expected a whole number from 0 to %d, got %q", most, text)
	}
	return n, nil
}

// requeue reads {"numbers": [...]}; nothing is all of them.
func requeue(c Channels, r *http.Request) (any, error) {
	text, err := body(r)
	if err != nil {
		return nil, err
	}
	var asked struct {
		Numbers []uint64 `json:"numbers"`
	}
	if len(text) > 0 {
		decoder := json.NewDecoder(strings.NewReader(string(text)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&asked); err != nil {
			return nil, &FieldError{"numbers", errors.New(`expected {"numbers": [1, 2]} or nothing`)}
		}
		if asked.Numbers != nil && len(asked.Numbers) == 0 { // none is not all
			return nil, &FieldError{"numbers", errors.New("expected at least one number")}
		}
	}
	return c.Requeue(r.Context(), r.PathValue("name"), asked.Numbers)
}

func body(r *http.Request) ([]byte, error) {
	return io.ReadAll(http.MaxBytesReader(nil, r.Body, channelTextMax))
}

// A failure is how an error is told.
type failure struct {
	Error string `json:"error"`
	Field string `json:"field,omitempty"` // that is to blame
}

func sayChannelError(w http.ResponseWriter, err error) {
	status, f := http.StatusInternalServerError, failure{Error: err.Error()}
	var field *FieldError
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &field):
		status, f.Field = http.StatusBadRequest, field.Field
	case errors.As(err, &large):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrNoChannel):
		status = http.StatusNotFound
	case errors.Is(err, ErrConflict):
		status = http.StatusConflict
	case errors.Is(err, ErrOngoing):
		status = http.StatusAccepted
	}
	sayJSON(w, status, f)
}
