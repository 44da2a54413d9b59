package bridge

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
)

// hookName is that of the hook, of its queues and of its records.
const hookName = "bridge"

// Options are what the bridges of a broker are made of.
type Options struct {
	Bridges     []configs.Bridge
	PacketMax   uint32        // limits.max_packet_size
	SysInterval time.Duration // between updates of $SYS/bridges; 0 is never
	Log         *slog.Logger
	// Lookup finds brokers in DNS; nil is the system's resolver.
	Lookup func(ctx context.Context, service, name string) ([]*net.SRV, error)
}

// A Hook is all bridges of a broker, and what a broker must do so that it can be at the other end of one.
type Hook struct {
	// Fixed when New returns.
	packetMax uint32
	interval  time.Duration
	log       *slog.Logger
	lookup    resolver
	random    func() float64
	seen      *seen
	twins     *twins
	lanes     *lanes
	// Fixed when Start returns.
	api    hooks.Broker
	broker string // identity of this broker towards others
	secret []byte // what it is made of

	settled sync.Once
	number  atomic.Uint64          // of the last message that began its way here
	marked  atomic.Pointer[marked] // nil if no bridge has to do with this broker
	dropped *counts                // of what bridges of others brought
	ending  chan struct{}
	keeping sync.WaitGroup

	recordMu sync.Mutex // guards records; a leaf in the lock order
	records  map[string][]byte

	changing sync.Mutex                // held while bridges are made, changed or removed; taken before mu; guards what follows
	wanted   []configs.Bridge          // of the configuration
	made     map[string]configs.Bridge // at run time
	running  bool

	mu      sync.Mutex // guards what follows
	links   map[string]*link
	boxes   map[string]*outbox
	peers   map[string]bool // client identifiers of bridges that subscribed here
	clients map[string]bool // and of all that connected, until their sessions end
}

// New makes the hook. Its bridges run after Run.
func New(o Options) *Hook {
	lookup := resolver(o.Lookup)
	if o.Lookup == nil {
		lookup = lookupSRV
	}
	return &Hook{
		packetMax: o.PacketMax, interval: o.SysInterval, log: o.Log, lookup: lookup, random: mathrand.Float64,
		seen: newSeen(), twins: newTwins(), lanes: newLanes(), ending: make(chan struct{}), wanted: o.Bridges, made: make(map[string]configs.Bridge),
		records: make(map[string][]byte), links: make(map[string]*link), boxes: make(map[string]*outbox), peers: make(map[string]bool), clients: make(map[string]bool), dropped: newCounts(),
	}
}

// Name implements hooks.Hook.
func (h *Hook) Name() string { return hookName }

// Start implements hooks.Starter. From here on the queues of the bridges take messages.
func (h *Hook) Start(b hooks.Broker) error {
	h.api = b
	b.Saved(hookName, func(key string, value []byte) {
		h.records[key] = value
		if origin, ok := strings.CutPrefix(key, seenPrefix); ok {
			h.seen.load(origin, value)
		}
		if id, ok := strings.CutPrefix(key, peerPrefix); ok {
			h.peers[id] = true
		}
		if name, ok := strings.CutPrefix(key, madePrefix); ok {
			h.restore(name, value)
		}
	})
	if err := h.identify(); err != nil {
		return err
	}
	for _, name := range b.Queues(hookName) {
		if err := h.openBox(name); err != nil {
			return err
		}
	}
	return h.apply(h.wanted)
}

// identify finds out who this broker is. The host's name is part of it, because folders are copied from one host to another.
func (h *Hook) identify() error {
	secret := h.records[identityKey]
	if secret == nil {
		secret = make([]byte, 16)
		if _, err := rand.Read(secret); err != nil {
			return err
		}
	}
	h.secret = secret
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	sum := sha256.Sum256(append(secret[:len(secret):len(secret)], host...))
	h.broker = strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:8]))
	if v := h.records[numberKey]; len(v) == 8 {
		h.number.Store(binary.BigEndian.Uint64(v))
	}
	return nil
}

// settleIn writes down who this broker is, and has the next start count on behind the numbers that are used until then. It is put
// off until a bridge has to do with this broker.
func (h *Hook) settleIn() {
	h.settled.Do(func() {
		h.save([]hooks.Record{{Key: identityKey, Value: h.secret}, h.reserved()}, nil)
	})
}

// numbersAhead is how many numbers are noted as used before they are.
const numbersAhead = 1 << 20

// reserved is the record of the number from which the next start counts on.
func (h *Hook) reserved() hooks.Record {
	top := h.number.Load() + 2*numbersAhead
	return hooks.Record{Key: numberKey, Value: binary.BigEndian.AppendUint64(nil, top)}
}

// nextNumber is the number of a message that begins its way here.
func (h *Hook) nextNumber() uint64 {
	n := h.number.Add(1)
	if n%numbersAhead == 0 {
		h.save([]hooks.Record{h.reserved()}, nil)
	}
	return n
}

func (h *Hook) openBox(name string) error {
	if h.boxes[name] != nil {
		return nil
	}
	box, err := openOutbox(h.api, name, newCounts())
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.boxes[name] = box
	h.mu.Unlock()
	return nil
}

// Run starts the bridges, once the broker serves.
func (h *Hook) Run() {
	h.changing.Lock()
	defer h.changing.Unlock()
	h.running = true
	for _, l := range h.links {
		l.begin()
	}
	h.keeping.Go(h.keep)
}

// Reload puts another list of bridges in force. Those that did not change stay connected; the queue of one that is gone stays too.
func (h *Hook) Reload(bridges []configs.Bridge) error { return h.apply(bridges) }

func (h *Hook) apply(bridges []configs.Bridge) error {
	h.changing.Lock()
	defer h.changing.Unlock()
	h.wanted = bridges
	return h.adjust()
}

// adjust makes the bridges that run those that are wanted and those that were made. changing is held.
func (h *Hook) adjust() error {
	bridges := h.all()
	kept := make(map[string]bool)
	var errs []error
	for i := range bridges {
		b := bridges[i]
		kept[b.Name] = true
		if old := h.links[b.Name]; old != nil && reflect.DeepEqual(old.config, b) {
			continue
		}
		errs = append(errs, h.replace(b))
	}
	for name, l := range h.links {
		if !kept[name] {
			h.remove(name, l)
		}
	}
	h.mark()
	return errors.Join(errs...)
}

// replace makes or changes a bridge.
func (h *Hook) replace(b configs.Bridge) error {
	if err := h.openBox(b.Name); err != nil {
		return fmt.Errorf("bridge %s: %w", b.Name, err)
	}
	old := h.links[b.Name]
	if old != nil {
		old.close()
	}
	l := newLink(h, b, h.boxes[b.Name])
	if old != nil {
		l.follow(old)
	}
	if err := l.feed(); err != nil {
		return fmt.Errorf("bridge %s: %w", b.Name, err)
	}
	h.mu.Lock()
	h.links[b.Name] = l
	h.mu.Unlock()
	if h.running {
		l.begin()
	}
	return nil
}

func (h *Hook) remove(name string, l *link) {
	l.close()
	l.box.close()
	l.box.policy.Store(&policy{})
	h.mu.Lock()
	delete(h.links, name)
	h.mu.Unlock()
	h.publish("$SYS/bridges/"+name+"/state", "")
	h.publish("$SYS/bridges/"+name+"/detail", "")
	h.log.Info("bridge removed", "bridge", name, "queued", l.box.len.Load())
}

// Stop implements hooks.Stopper.
func (h *Hook) Stop() error {
	h.changing.Lock()
	defer h.changing.Unlock()
	if h.running {
		close(h.ending)
		h.keeping.Wait()
		h.running = false
	}
	var closing sync.WaitGroup
	for _, l := range h.links {
		closing.Go(l.close)
	}
	closing.Wait()
	h.saveSeen(true)
	return nil
}

// keep writes down what others brought, and publishes figures.
func (h *Hook) keep() {
	save := time.NewTicker(time.Second)
	defer save.Stop()
	var tell <-chan time.Time
	if h.interval > 0 {
		t := time.NewTicker(h.interval)
		defer t.Stop()
		tell = t.C
	}
	for {
		select {
		case <-h.ending:
			return
		case <-save.C:
			h.saveSeen(false)
			h.twins.forget(time.Now())
		case <-tell:
			h.publishFigures()
		}
	}
}

// saveSeen writes what was seen since the last time.
func (h *Hook) saveSeen(wait bool) {
	var records []hooks.Record
	for origin, value := range h.seen.save() {
		records = append(records, hooks.Record{Key: seenPrefix + origin, Value: value})
	}
	if len(records) == 0 || h.api == nil {
		return
	}
	if !wait {
		h.api.Save(hookName, records, nil)
		return
	}
	saved := make(chan struct{})
	h.api.Save(hookName, records, func(error) { close(saved) }) // a store that fails says so itself
	<-saved
}

// publish sets a retained message of this broker.
func (h *Hook) publish(name, text string) {
	h.api.Publish(&packet.Message{Topic: name, Payload: []byte(text), Retain: true, Received: time.Now().UnixNano()}, nil)
}
