package bridge

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstockmq/penstock/hooks"
)

// A Status is what can be told of one bridge.
type Status struct {
	Name     string
	State    State
	Address  string    // it is connected to, or tries
	Version  string    // of MQTT, while it is connected
	Since    time.Time // of the state
	Reason   string    // what went wrong last; empty if nothing did
	Failed   time.Time // when
	Refused  []string  // subscriptions that the other broker refused, with its reason
	ClientID string

	QueueMessages int64
	QueueBytes    int64
	QueueAge      time.Duration // of its oldest message
	Inflight      int

	Sent, Received           uint64
	SentBytes, ReceivedBytes uint64
	SentRate, ReceivedRate   float64 // a second, of the last ten
	Resent                   uint64
	Connects                 uint64
	RoundTrip                time.Duration
	Dropped                  map[string]uint64 // by reason
}

// ErrUnknown tells that there is no bridge of that name.
var ErrUnknown = errors.New("no such bridge")

// Status tells of every bridge, by name.
func (h *Hook) Status() []Status {
	h.mu.Lock()
	links, boxes := make([]*link, 0, len(h.links)), make([]*outbox, 0, len(h.boxes))
	for _, l := range h.links {
		links = append(links, l)
	}
	for name, box := range h.boxes {
		if h.links[name] == nil {
			boxes = append(boxes, box)
		}
	}
	h.mu.Unlock()
	now := time.Now()
	var all []Status
	for _, l := range links {
		all = append(all, l.status(now))
	}
	for _, box := range boxes {
		s := box.status(now)
		s.State = StateRemoved
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Dropped counts, by reason, the messages that bridges of other brokers brought and that were not published here.
func (h *Hook) Dropped() map[string]uint64 {
	return map[string]uint64{dropLoop: h.dropped.drops()[dropLoop], dropDuplicate: h.dropped.drops()[dropDuplicate]}
}

func (o *outbox) status(now time.Time) Status {
	c := o.counts
	s := Status{
		Name: o.name, QueueMessages: max(0, o.len.Load()), QueueBytes: max(0, o.bytes.Load()),
		Sent: c.sent.Load(), Received: c.received.Load(), SentBytes: c.sentBytes.Load(), ReceivedBytes: c.receivedBytes.Load(),
		SentRate: c.out.read(now), ReceivedRate: c.in.read(now), Resent: c.resent.Load(), Connects: c.connects.Load(),
		RoundTrip: time.Duration(c.trip.Load()), Dropped: c.drops(),
	}
	if at := o.oldest(); at > 0 {
		s.QueueAge = max(0, now.Sub(time.Unix(0, at)))
	}
	return s
}

func (l *link) status(now time.Time) Status {
	s := l.box.status(now)
	l.mu.Lock()
	s.State, s.Address, s.Since, s.Reason, s.Failed = l.state, l.where, l.since, l.reason, l.failed
	s.Refused, s.ClientID = slices.Clone(l.refused), l.clientID
	c := l.present
	if c != nil {
		s.Version = l.version.String()
	}
	l.mu.Unlock()
	if c != nil {
		c.mu.Lock()
		s.Inflight = c.window.count
		c.mu.Unlock()
	}
	return s
}

// find returns the link of a name.
func (h *Hook) find(name string) (*link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.links[name]
	if l == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	return l, nil
}

// Pause ends a bridge's connection until Resume. Its queue goes on taking messages. That it is paused outlives a restart.
func (h *Hook) Pause(name string) error { return h.setPaused(name, true) }

// Resume lets a paused bridge connect again.
func (h *Hook) Resume(name string) error { return h.setPaused(name, false) }

func (h *Hook) setPaused(name string, paused bool) error {
	l, err := h.find(name)
	if err != nil {
		return err
	}
	record := hooks.Record{Key: pausedKey(name)}
	if paused {
		record.Value = []byte{1}
	}
	if err := h.saveNow(record); err != nil {
		return err
	}
	l.setPaused(paused)
	return nil
}

// publishFigures sets $SYS/bridges.
func (h *Hook) publishFigures() {
	for _, s := range h.Status() {
		below := "$SYS/bridges/" + s.Name + "/"
		for _, f := range []struct{ name, text string }{
			{"queue/messages", strconv.FormatInt(s.QueueMessages, 10)},
			{"queue/bytes", strconv.FormatInt(s.QueueBytes, 10)},
			{"queue/age", strconv.FormatInt(int64(s.QueueAge.Seconds()), 10)},
			{"sent", strconv.FormatUint(s.Sent, 10)},
			{"received", strconv.FormatUint(s.Received, 10)},
			{"roundtrip", strconv.FormatFloat(s.RoundTrip.Seconds(), 'f', 6, 64)},
			{"reason", s.Reason},
		} {
			h.publish(below+f.name, f.text)
		}
	}
}
