package channel_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/broker"
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/hooks/channel"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/memory"
)

// A slowStarter owns a filter, and gives the hooks that started before it all the time they want until then.
type slowStarter struct{ received atomic.Int64 }

// Name implements hooks.Hook.
func (*slowStarter) Name() string { return "slow-starter" }

// Start implements hooks.Starter.
func (s *slowStarter) Start(b hooks.Broker) error {
	synctest.Wait()
	_, err := b.Own("later/#", s)
	return err
}

// Receive implements hooks.Owner.
func (s *slowStarter) Receive(string, *packet.Message) error {
	s.received.Add(1)
	return nil
}

// What came due while the broker was down is published when every hook has started, not when there is nobody yet to
// get it.
func TestOverdueAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records := memory.New()
		begin := func(store storage.Store) (*broker.Broker, *channel.Channels, *slowStarter) {
			declared := configs.Channel{Name: "later", Filter: "later/#"}
			declared.Fill()
			limits, log := configs.Default().Limits, slog.New(slog.DiscardHandler)
			channels := channel.New(channel.Options{Channels: []configs.Channel{declared}, Limits: limits, Log: log})
			slow := &slowStarter{}
			b, err := broker.New(broker.Options{
				Limits: limits, Store: store, Hooks: []hooks.Hook{channels, slow}, Log: log, Version: "test",
			})
			if err != nil {
				t.Fatal(err)
			}
			return b, channels, slow
		}
		first, _, _ := begin(records)
		first.Publish(&packet.Message{
			Topic: "later/1", QoS: 1,
			Properties: packet.AppendProperties(nil, &packet.Forwarded{User: []packet.UserProperty{{Key: "delay", Value: "1"}}}),
		}, nil)
		if err := first.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Second)
		second, channels, slow := begin(records.Reopen())
		synctest.Wait()
		stat, err := channels.Stat("later")
		if err != nil || stat.Depth != 1 || slow.received.Load() != 1 {
			t.Errorf("%v, %d messages in the channel, %d for the hook that started later, want 1 and 1", err, stat.Depth, slow.received.Load())
		}
		if err := second.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
