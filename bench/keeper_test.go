package bench

import (
	"slices"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A keeper publishes every retained message once, some at a time, is ready when all are acknowledged, and then has them forgotten.
func TestKeeper(t *testing.T) {
	versions(t, func(t *testing.T, version byte) {
		o := Default(Retained)
		o.Version, o.Retained = version, keptMax+3
		p, err := newPlan(&o)
		if err != nil {
			t.Fatal(err)
		}
		p.keepers = spread(o.Retained, 1)
		tr := newTraffic(&o, p)
		k := newKeepers(&o, p, tr)[0]
		for _, visit := range []struct {
			purpose purpose
			size    int
		}{{begin, o.Size}, {forget, 0}} {
			k.leave(visit.purpose)
			var topics []string
			for answer := fed(t, k, connack(t, version, packets.Properties{})); len(answer) > 0; {
				if k.ready {
					t.Error("ready before all is acknowledged")
				}
				answer = fed(t, k, kept(t, version, answer, visit.size, &topics))
			}
			slices.Sort(topics)
			if distinct := len(slices.Compact(topics)); !k.ready || distinct != o.Retained || k.keeper.kept != o.Retained {
				t.Errorf("ready %v, %d topics, %d acknowledged", k.ready, distinct, k.keeper.kept)
			}
		}
		if tr.kept != 2*o.Retained {
			t.Errorf("%d acknowledged in all", tr.kept)
		}
	})
}

// kept checks retained messages and returns their acknowledgements.
func kept(t *testing.T, version byte, frames []byte, size int, topics *[]string) (acks []byte) {
	t.Helper()
	ids := make(map[uint16]bool)
	for len(frames) > 0 {
		_, _, rest, err := cut(frames)
		if err != nil {
			t.Fatal(err)
		}
		m := decode(t, version, frames[:len(frames)-len(rest)])
		if !m.FixedHeader.Retain || m.FixedHeader.Qos != 1 || len(m.Payload) != size || ids[m.PacketID] {
			t.Errorf("%+v", m)
		}
		ids[m.PacketID] = true
		*topics = append(*topics, m.TopicName)
		acks, frames = appendAck(acks, pubackByte, m.PacketID), rest
	}
	return acks
}

// A username goes with a password, into the CONNECT of every client [MQTT311-3.1.2-22].
func TestUsername(t *testing.T) {
	versions(t, func(t *testing.T, version byte) {
		o := Default(Pairs)
		o.Version, o.Username, o.Password = version, "u", "secret"
		_, pub, sub := pair(t, o)
		for _, c := range []*client{pub, sub} {
			p := decode(t, version, c.connect(nil))
			if string(p.Connect.Username) != "u" || string(p.Connect.Password) != "secret" || !p.Connect.PasswordFlag {
				t.Errorf("%+v", p.Connect)
			}
		}
	})
}
