package channel_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/broker"
	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/hooks/auth"
	"github.com/penstockmq/penstock/hooks/channel"
	"github.com/penstockmq/penstock/storage/memory"
	"github.com/penstockmq/penstock/test/setting"
)

// A rig is a broker with channels, in memory.
type rig struct {
	*testing.T
	broker   *broker.Broker
	channels *channel.Channels

	mu    sync.Mutex                     // guards acked
	acked map[string]map[string][]string // channel, topic: payloads in the order in which they were acknowledged
}

func newRig(t *testing.T, declared ...configs.Channel) *rig {
	t.Helper()
	return newWatchedRig(t, func(string) {}, declared...)
}

// newWatchedRig has serve called with each filter that the channels are about to serve.
func newWatchedRig(t *testing.T, serve func(filter string), declared ...configs.Channel) *rig {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	for i := range declared {
		declared[i].Fill()
		if key, err := declared[i].Check(); err != nil {
			t.Fatal(key, err)
		}
	}
	limits := configs.Default().Limits
	r := &rig{T: t, channels: channel.New(channel.Options{Channels: declared, Limits: limits, Log: log}), acked: map[string]map[string][]string{}}
	anyone, err := auth.NewAnonymous(auth.AnonymousOptions{Policy: auth.Policy("always")})
	if err != nil {
		t.Fatal(err)
	}
	r.broker, err = broker.New(broker.Options{
		Limits: limits, Store: memory.New(), Hooks: []hooks.Hook{watchedChannels{r.channels, serve}, anyone}, Log: log, Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// watchedChannels see the broker through a watchedBroker.
type watchedChannels struct {
	*channel.Channels
	serve func(filter string)
}

func (w watchedChannels) Start(b hooks.Broker) error {
	return w.Channels.Start(watchedBroker{b, w.serve})
}

type watchedBroker struct {
	hooks.Broker
	serve func(filter string)
}

func (w watchedBroker) Serve(filter string, m hooks.Members) (release func(), err error) {
	w.serve(filter)
	return w.Broker.Serve(filter, m)
}

// A peer is a client with just enough of MQTT 5.
type peer struct {
	nc   net.Conn
	head [1]byte
}

func (r *rig) dial(id string) *peer {
	near, far := net.Pipe()
	r.broker.Attach(far, listener.Peer{Listener: "test", Remote: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}})
	p := &peer{nc: near}
	connect := append(text("MQTT"), 5, 2, 0, 0, 0)
	p.write(0x10, append(connect, text(id)...))
	if kind, _ := p.read(); kind != 2 {
		r.Errorf("%s: no CONNACK", id)
	}
	return p
}

func text(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }

func (p *peer) write(head byte, body []byte) bool {
	_, err := p.nc.Write(append(binary.AppendUvarint([]byte{head}, uint64(len(body))), body...))
	return err == nil
}

// read returns the type, flags included, and the body of a packet; 0 at the end.
func (p *peer) read() (kind byte, body []byte) {
	if _, err := io.ReadFull(p.nc, p.head[:]); err != nil {
		return 0, nil
	}
	length, err := binary.ReadUvarint(p)
	if err != nil {
		return 0, nil
	}
	body = make([]byte, length)
	if _, err := io.ReadFull(p.nc, body); err != nil {
		return 0, nil
	}
	return p.head[0] >> 4, body
}

// ReadByte implements io.ByteReader.
func (p *peer) ReadByte() (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(p.nc, b[:])
	return b[0], err
}

// publish sends messages one after the other and waits for each acknowledgement.
func (r *rig) publish(id string, random *rand.Rand, count, keys int) {
	p := r.dial(id)
	defer p.nc.Close()
	for i := range count {
		topic := fmt.Sprintf("work/%s%d", id, i%keys)
		body := append(text(topic), 0, 1, 0)
		if !p.write(0x32, append(body, fmt.Sprintf("%05d", i)...)) {
			r.Errorf("%s: cut off", id)
		}
		if kind, _ := p.read(); kind != 4 {
			r.Errorf("%s: %d is no PUBACK", id, kind)
		}
		<-time.After(time.Duration(random.IntN(40)) * time.Millisecond)
	}
}

// member takes messages of a channel over several connections, and deals with them as fate will have it until stop.
func (r *rig) member(id, name string, random *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		p := r.dial(id)
		p.write(0x82, append(append([]byte{0, 1, 0}, text("$channel/"+name)...), 1))
		left := 1 + random.IntN(30)
		for left > 0 {
			kind, body := p.read()
			if kind == 0 {
				break
			}
			if kind == 3 {
				left--
				r.deal(p, name, body, random.IntN(100))
			}
		}
		p.nc.Close()
		<-time.After(time.Duration(random.IntN(100)) * time.Millisecond)
	}
}

// deal acknowledges a message, refuses it or does nothing. fate below 70 is good.
func (r *rig) deal(p *peer, name string, body []byte, fate int) {
	length := binary.BigEndian.Uint16(body)
	topic, rest := string(body[2:2+length]), body[2+length:]
	id, rest := rest[:2], rest[2:]
	properties, n := binary.Uvarint(rest)
	payload := string(rest[n+int(properties):])
	switch {
	case fate < 70:
		r.mu.Lock()
		if r.acked[name] == nil {
			r.acked[name] = map[string][]string{}
		}
		r.acked[name][topic] = append(r.acked[name][topic], payload)
		r.mu.Unlock()
		p.write(0x40, id)
	case fate < 85:
		p.write(0x40, append(slices.Clone(id), byte(packet.QuotaExceeded)))
	}
}

// drain has a well-behaved member take all that is left.
func (r *rig) drain(name string) {
	p := r.dial("last-" + name)
	p.write(0x82, append(append([]byte{0, 1, 0}, text("$channel/"+name)...), 1))
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			kind, body := p.read()
			if kind == 0 {
				return
			}
			if kind == 3 {
				r.deal(p, name, body, 0)
			}
		}
	})
	for range 3600 {
		s, err := r.channels.Stat(name)
		if err != nil {
			r.Error(err)
		}
		if err != nil || s.Depth == 0 {
			break
		}
		<-time.After(time.Second)
	}
	p.nc.Close()
	reading.Wait()
}

// dead are the payloads in a channel's dead letter, by topic.
func (r *rig) dead(name string) map[string][]string {
	found := map[string][]string{}
	all, err := r.channels.Peek(name+configs.DeadSuffix, 0, 100_000)
	if err != nil {
		r.Error(err)
	}
	for _, m := range all {
		for key, value := range packet.UserProperties(m.Message.Properties) {
			if key == "dead-letter-topic" {
				found[value] = append(found[value], string(m.Message.Payload))
			}
		}
	}
	return found
}

// Under members that come, go, stall and refuse, every message is dealt with or is a dead letter, in every channel; and where
// there is an order, it holds.
func TestNothingIsLost(t *testing.T) {
	first := setting.Seed(t)
	synctest.Test(t, func(t *testing.T) {
		const publishers, count, keys = 3, 150, 4
		rules := configs.Channel{AckTimeout: 300 * time.Millisecond, Backoff: 20 * time.Millisecond, MaxAttempts: 4}
		plain, ordered := rules, rules
		plain.Name, plain.Filter, plain.DeadLetter = "plain", "work/#", "dead/plain"
		ordered.Name, ordered.Filter, ordered.DeadLetter, ordered.Order = "ordered", "work/#", "dead/ordered", configs.OrderTopic
		r := newRig(t, plain, ordered)
		stop := make(chan struct{})
		var members, authors sync.WaitGroup
		for i := range 4 {
			for _, name := range []string{"plain", "ordered"} {
				members.Go(func() {
					r.member(fmt.Sprintf("%s-%d", name, i), name, rand.New(rand.NewPCG(first, uint64(i))), stop)
				})
			}
		}
		for i := range publishers {
			authors.Go(func() {
				r.publish(strconv.Itoa(i), rand.New(rand.NewPCG(first, uint64(100+i))), count, keys)
			})
		}
		authors.Wait()
		close(stop)
		r.drain("plain")
		r.drain("ordered")
		r.check("plain", publishers, count, keys)
		r.check("ordered", publishers, count, keys)
		if err := r.broker.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		members.Wait()
	})
}

// check looks for each message in what was acknowledged and in the dead letter.
func (r *rig) check(name string, publishers, count, keys int) {
	dead, deadCount := r.dead(name), 0
	for i := range publishers {
		for n := range count {
			topic, payload := fmt.Sprintf("work/%d%d", i, n%keys), fmt.Sprintf("%05d", n)
			acked, buried := slices.Contains(r.acked[name][topic], payload), slices.Contains(dead[topic], payload)
			if !acked && !buried {
				r.Errorf("%s: %s of %s is lost", name, payload, topic)
			}
			if buried {
				deadCount++
			}
		}
	}
	if s, err := r.channels.Stat(name); err != nil || s.Queued != uint64(publishers*count) || s.Acked+s.DeadLettered != s.Queued || int(s.DeadLettered) != deadCount {
		r.Errorf("%s: %v, %d in the dead letter, %+v", name, err, deadCount, s)
	}
	if name != "ordered" {
		return
	}
	for topic, payloads := range r.acked[name] {
		last := ""
		for i, p := range payloads {
			if p < last && !slices.Contains(payloads[:i], p) {
				r.Errorf("%s: %s of %s came after %s", name, p, topic, last)
			}
			last = max(last, p)
		}
	}
}
