package bench

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/penstockmq/penstock/test/loopback"
)

// channelBroker is a broker with a channel: it stands in front of one and makes, of a subscription to $channel/c, one to a shared
// subscription with a filter of the channel's own, of the same length.
func channelBroker(t *testing.T, broker string) string {
	t.Helper()
	const joined, shared = "$channel/members", "$share/m/bench/#"
	return loopback.Serve(t, func(client net.Conn) {
		server, err := net.Dial("tcp", broker)
		if err != nil {
			return
		}
		defer server.Close()
		go func() {
			defer client.Close()
			io.Copy(client, server)
		}()
		var pending []byte
		buffer := make([]byte, 4096)
		for {
			n, err := client.Read(buffer)
			if err != nil {
				return
			}
			var out []byte
			pending, out = changeAll(append(pending, buffer[:n]...), func(frame []byte) []byte {
				if frame[0] != subscribeByte {
					return frame
				}
				return []byte(strings.Replace(string(frame), joined, shared, 1))
			})
			server.Write(out)
		}
	})
}

// The members of a channel get every message once, whatever it had kept of an earlier run, which is told.
func TestChannel(t *testing.T) {
	versions(t, func(t *testing.T, version byte) {
		b, address := penstock(t)
		o := small(Default(Channel), channelBroker(t, address))
		o.Channel, o.Version = "members", version
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Good() || r.Delivered == 0 || r.Strange != 0 {
			t.Errorf("%+v", r)
		}
		nothingLeft(t, b)
	})
}

// What a channel had kept of others comes first, however long that takes, and no message of this run counts as lost meanwhile.
func TestChannelThatIsNotEmpty(t *testing.T) {
	_, address := penstock(t)
	o := small(withQoS(Share, 1), "")
	o.Filter = o.Prefix + "/#"
	others := small(Default(Share), "")
	stamp := newStamp(&others, header{run: 1}, "bench/kept")
	kept := stamp.append(nil, 0, 1, 0)
	emptied := make(chan struct{})
	tell := sync.OnceFunc(func() { close(emptied) })
	o.Progress = func(p Progress) {
		if p.Phase == "emptying" {
			tell()
		}
	}
	o.Address = loopback.Serve(t, between(address, func(frame []byte) []byte {
		switch {
		case frame[0] == subackByte:
			return append(bytes.Clone(frame), kept...)
		case isPublish(frame):
			<-emptied
		}
		return frame
	}))
	t.Cleanup(tell)
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Good() || r.Delivered == 0 || r.Strange != 5 {
		t.Errorf("%+v", r)
	}
}

// A shared subscription to what all publish gets the messages of other runs, too, and of those who are no run.
func TestStrangers(t *testing.T) {
	_, address := penstock(t)
	done := make(chan error, 1)
	other := small(withQoS(Pairs, 1), address)
	other.Duration = 2 * time.Second
	go func() {
		_, err := Run(t.Context(), other)
		done <- err
	}()
	o := small(Default(Share), address)
	o.Filter, o.Duration, o.Clients = "bench/#", time.Second, 1
	r, err := Run(t.Context(), o)
	if otherErr := <-done; err != nil || otherErr != nil {
		t.Fatal(err, otherErr)
	}
	if !r.Good() || r.Delivered == 0 || r.Strange == 0 {
		t.Errorf("%+v", r)
	}
}

// A bridge's publishers are at one broker and its subscribers at another, where topics may have a prefix. Nothing is
// counted as lost of the time before the bridge was there.
func TestBridge(t *testing.T) {
	for _, qos := range []byte{0, 1, 2} {
		_, near := penstock(t)
		_, far := penstock(t)
		stop := forward(t, near, far, "site/", qos)
		o := small(withQoS(Bridge, qos), near)
		o.To, o.ToPrefix = far, "site/"
		r, err := Run(t.Context(), o)
		stop()
		if err != nil {
			t.Fatal(err)
		}
		if !r.Good() || r.Delivered == 0 {
			t.Errorf("QoS %d: %+v", qos, r)
		}
	}
}

// forward is a bridge that takes a while to come.
func forward(t *testing.T, near, far, prefix string, qos byte) (stop func()) {
	t.Helper()
	connect := func(address, id string) mqtt.Client {
		c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + address).SetClientID(id))
		if token := c.Connect(); token.Wait() && token.Error() != nil {
			t.Error(token.Error())
		}
		return c
	}
	there := make(chan [2]mqtt.Client, 1)
	time.AfterFunc(200*time.Millisecond, func() {
		from, to := connect(near, "bridge"), connect(far, "bridge")
		from.Subscribe("bench/#", qos, func(_ mqtt.Client, m mqtt.Message) { to.Publish(prefix+m.Topic(), m.Qos(), false, m.Payload()) })
		there <- [2]mqtt.Client{from, to}
	})
	return func() {
		for _, c := range <-there {
			c.Disconnect(0)
		}
	}
}

// Without a bridge it says so.
func TestNoBridge(t *testing.T) {
	_, near := penstock(t)
	_, far := penstock(t)
	o := small(Default(Bridge), near)
	o.To = far
	r, err := newRun(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.loop.close()
	r.patience = 100 * time.Millisecond
	if err := r.connect(t.Context()); err == nil || !strings.Contains(err.Error(), "is there a bridge for bench/#?") {
		t.Errorf("error %v", err)
	}
}
