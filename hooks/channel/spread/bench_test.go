package spread

import (
	"strconv"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// What the rules cost for a message that is queued, handed out and acknowledged.
func BenchmarkMessage(b *testing.B) {
	for name, key := range map[string]func(*packet.Message) (string, bool){
		"unordered": nil, "ordered": func(m *packet.Message) (string, bool) { return m.Topic, true },
	} {
		b.Run(name, func(b *testing.B) {
			s := New(Rules{AckTimeout: 1e9, MemberMax: 100, Key: key}, hooks.Extent{Head: 1, Next: 1}, nil)
			for i := range 5 {
				s.Online(s.Join(strconv.Itoa(i), "f"), 100)
			}
			messages := make([]*packet.Message, 64)
			for i := range messages {
				messages[i] = &packet.Message{Topic: strconv.Itoa(i)}
			}
			var effects []Effect
			b.ReportAllocs()
			for i := range b.N {
				m := messages[i%len(messages)]
				s.Admit(m.Size())
				s.Queued(uint64(i+1), m, int64(i))
				s.Answered(s.Next(int64(i)), Answer{Acked: true}, int64(i))
				effects = s.Effects(effects)
			}
		})
	}
}

// What a message costs in a channel that nobody is a member of.
func BenchmarkUnread(b *testing.B) {
	s := New(Rules{AckTimeout: 1e9, MemberMax: 100}, hooks.Extent{Head: 1, Next: 1}, nil)
	m := &packet.Message{Topic: "a"}
	for i := range b.N {
		s.Admit(1)
		s.Queued(uint64(i+1), m, int64(i))
	}
}
