package crash

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/penstockmq/penstock/broker/packet"
)

// A moment is a time of the logical clock. The zero moment is never.
type moment uint64

// A clock gives each event its moment, in the order in which they happened.
type clock struct{ last atomic.Uint64 }

func (c *clock) now() moment { return moment(c.last.Add(1)) }

// A span is something that was asked for and confirmed. It took effect at some moment between the two.
type span struct {
	begun moment // just before it was asked for; 0 if it never was
	done  moment // just after it was confirmed; 0 if it never was
}

// surelyBefore reports whether s had taken effect before o was asked for.
func (s span) surelyBefore(o span) bool { return s.done != 0 && o.begun != 0 && s.done < o.begun }

// maybeBefore reports whether s may have taken effect before o did. What was never asked for comes after everything.
func (s span) maybeBefore(o span) bool {
	return s.begun != 0 && (o.done == 0 || s.begun < o.done)
}

// A stream is what one publisher sends to one topic with one QoS: what [MQTT5-4.6.0-6] says is delivered in order.
type stream struct {
	// Fixed when it is made.
	index  int
	topic  string
	qos    byte
	retain bool // its messages set and delete the topic's retained message
	will   bool // its messages are wills, one for each connection

	mu   sync.Mutex // guards what follows
	sent []publication
}

// A publication is one message of a stream. The span ends with PUBACK or PUBREC; of a will that must have been published, with the run.
type publication struct {
	span
	sends     int    // how often PUBLISH was sent
	deletes   bool   // a retained message without payload
	forbidden bool   // a will that was taken back by DISCONNECT
	accepted  uint64 // the start of the broker before a will's connection was asked for
	left      uint64 // and the one before it ended
}

// origin says, of a will, between which starts of the broker its connection lived.
func (p *publication) origin() string {
	if p.accepted == 0 {
		return ""
	}
	return fmt.Sprintf(": a will of a connection accepted after start %d, which ended after start %d", p.accepted, p.left)
}

// add notes the next message, about to be sent, and returns its counter, from 1.
func (s *stream) add(p publication) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, p)
	return len(s.sent)
}

// change changes what is known of a message.
func (s *stream) change(counter int, f func(p *publication)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.sent[counter-1])
}

// get is what is known of a message.
func (s *stream) get(counter int) publication {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent[counter-1]
}

// all is a copy of every message so far.
func (s *stream) all() []publication {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}

// payload is the content of a message, which can be told from it alone. A few are large.
func (s *stream) payload(counter int) []byte {
	size := 20 + counter*7919%100
	if counter%97 == 0 {
		size = 10_000 + counter*7919%20_000
	}
	b := fmt.Appendf(make([]byte, 0, size), "%d.%d.", s.index, counter)
	for len(b) < size {
		b = append(b, 'a'+byte(len(b)%26))
	}
	return b
}

// parsePayload finds which message a payload is of.
func parsePayload(b []byte) (index, counter int, err error) {
	parts := strings.SplitN(string(b[:min(len(b), 40)]), ".", 3)
	if len(parts) != 3 {
		return 0, 0, fmt.Errorf("payload %.40q", b)
	}
	if index, err = strconv.Atoi(parts[0]); err != nil {
		return 0, 0, err
	}
	counter, err = strconv.Atoi(parts[1])
	return index, counter, err
}

// A session is one session of a client at the broker, from the CONNACK that began it to the one after it.
type session struct {
	client   string
	volatile bool // it ends with its connection
	began    span
	ended    span
	lives    []*life
	receipts []receipt
	complete bool // everything that was queued for it has been delivered
}

// A life is one subscription from SUBSCRIBE to UNSUBSCRIBE, or to the end of its session.
type life struct {
	filter string
	qos    byte
	start  span
	end    span
}

// A receipt is one PUBLISH that a client received.
type receipt struct {
	stream  int
	counter int
	link    int    // counts the client's connections
	start   uint64 // counts the broker's starts
	id      uint16
	qos     byte
	dup     bool
	retain  bool
	repeat  bool // QoS 2: its identifier was known, so the message was not taken again
}

// A kind says which promise a violation broke.
type kind string

// The kinds of violations.
const (
	kindLost         kind = "lost"            // an acknowledged message was not delivered
	kindOrder        kind = "order"           // messages of one stream came in another order
	kindTwice        kind = "twice"           // a QoS 2 message was delivered twice, or a QoS 1 message without reason
	kindUncalled     kind = "uncalled"        // a message came without a subscription for it
	kindQoS          kind = "qos"             // a message came with another QoS than granted
	kindRetained     kind = "retained"        // a retained message is not the last acknowledged one, nor a later one
	kindSessionLost  kind = "session lost"    // a session that was acknowledged was not there
	kindSessionBack  kind = "session back"    // a session that had ended was there
	kindSubscription kind = "subscription"    // a subscription that was acknowledged was not there
	kindPacketID     kind = "packet id"       // a message was sent again with another identifier
	kindResend       kind = "resend"          // what was in flight was not sent again, or not first and in order
	kindAck          kind = "acknowledgement" // an acknowledgement that was not due, or out of turn
	kindRefused      kind = "refused"         // a request that nothing speaks against was refused
	kindCorrupt      kind = "corrupt"         // a payload or topic that nobody published
	kindStalled      kind = "stalled"         // something did not happen in time
	kindBroker       kind = "broker"          // the broker did not start, or ended by itself
	kindEarly        kind = "early"           // a message came before the time that was asked for
	kindFailures     kind = "failures"        // a count of failures went back, or is wrong
	kindPaused       kind = "paused"          // a message came out of a channel that was paused
	kindWindow       kind = "window"          // more messages in flight than the member takes
)

// A violation is a promise that was broken.
type violation struct {
	kind kind
	text string
}

func (v violation) String() string { return string(v.kind) + ": " + v.text }

// matches reports whether a filter without $share matches a topic name [MQTT5-4.7.1-1]. It is written apart from the broker's.
func matches(filter, topic string) bool {
	f, n := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, level := range f {
		switch {
		case level == "#":
			return true
		case i >= len(n), level != "+" && level != n[i]:
			return false
		}
	}
	return len(f) == len(n)
}

// versionOf spreads clients over the versions that have sessions that survive.
func versionOf(n int) packet.Version {
	if n%2 == 0 {
		return packet.V5
	}
	return packet.V311
}
