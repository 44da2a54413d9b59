//go:build unix

package channel_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker"
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/hooks/channel"
	"github.com/penstockmq/penstock/storage/badger"
)

// What a message costs that goes into many channels, up to its delivery: processor time of the whole process for
// each copy, on a disk with fsync.
func BenchmarkCopies(b *testing.B) {
	for _, count := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) { benchmarkCopies(b, count) })
	}
}

func benchmarkCopies(b *testing.B, count int) {
	log := slog.New(slog.DiscardHandler)
	var declared []configs.Channel
	for i := range count {
		c := configs.Channel{Name: fmt.Sprintf("c%d", i), Filter: "bench/#"}
		c.Fill()
		declared = append(declared, c)
	}
	store, err := badger.Open(badger.Options{Path: b.TempDir(), Log: log})
	if err != nil {
		b.Fatal(err)
	}
	limits := configs.Default().Limits
	br, err := broker.New(broker.Options{
		Limits: limits, Store: store, Log: log, Version: "test",
		Hooks: []hooks.Hook{channel.New(channel.Options{Channels: declared, Limits: limits, Log: log})},
	})
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 64)
	var stored sync.WaitGroup
	begun := processorTime()
	for n := 0; b.Loop(); n++ {
		stored.Add(1)
		br.Publish(&packet.Message{Topic: "bench/1", Payload: payload, QoS: 1}, func(err error) {
			if err != nil {
				b.Error(err)
			}
			stored.Done()
		})
		if n%100 == 99 { // as 20 publishers with a window of 5
			stored.Wait()
		}
	}
	stored.Wait()
	b.ReportMetric(float64(processorTime()-begun)/float64(b.N)/float64(count), "cpu-ns/copy")
	if err := br.Shutdown(context.Background()); err != nil {
		b.Error(err)
	}
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
