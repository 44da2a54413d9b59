package main

import (
	"context"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/penstockmq/penstock/admin"
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/hooks/channel"
)

// operatedChannels are the channels as the admin side sees them.
type operatedChannels struct{ hook *channel.Channels }

// Channels implements admin.Channels.
func (o operatedChannels) Channels() []admin.ChannelStatus {
	all := []admin.ChannelStatus{}
	for _, s := range o.hook.Stats() {
		all = append(all, channelStatus(&s))
	}
	return all
}

// Channel implements admin.Channels.
func (o operatedChannels) Channel(name string) (admin.ChannelDetail, error) {
	s, err := o.hook.Stat(name)
	if err != nil {
		return admin.ChannelDetail{}, blameChannel(err)
	}
	d := admin.ChannelDetail{ChannelStatus: channelStatus(&s), Settings: s.Settings.Values(), Members: []admin.ChannelMember{}}
	for _, m := range s.Members {
		d.Members = append(d.Members, admin.ChannelMember(m))
	}
	return d, nil
}

func channelStatus(s *channel.Stat) admin.ChannelStatus {
	status := admin.ChannelStatus{
		Name: s.Settings.Name, Filter: s.Settings.Filter, Origin: s.Origin, Created: s.Created, Paused: s.Paused,
		Depth: s.Depth, Bytes: s.Bytes, InFlight: s.InFlight, Deferred: s.Deferred, OldestAge: s.OldestAge,
		Queued: s.Queued, Delivered: s.Delivered, Acked: s.Acked, Unconfirmed: s.Unconfirmed, Requeued: s.Requeued,
		Failed: s.Failed, TimedOut: s.TimedOut, DeadLettered: s.DeadLettered, PutBack: s.PutBack, Dropped: make(map[string]uint64),
		RateIn: s.RateIn, RateOut: s.RateOut, Drain: s.Drain, MemberCount: len(s.Members),
	}
	for reason, n := range s.Dropped {
		status.Dropped[string(reason)] = n
	}
	for _, m := range s.Members {
		if m.Online {
			status.MembersOnline++
		}
	}
	return status
}

// Deferred implements admin.Channels.
func (o operatedChannels) Deferred() int { return o.hook.Deferred() }

// Create implements admin.Channels.
func (o operatedChannels) Create(ctx context.Context, name string, settings []byte) error {
	parsed, err := configs.ParseChannel(name, settings)
	if err != nil {
		return blameChannel(err)
	}
	return stored(ctx, func(done func(error)) error { return o.hook.Create(parsed, done) })
}

// Delete implements admin.Channels.
func (o operatedChannels) Delete(ctx context.Context, name string) error {
	return stored(ctx, func(done func(error)) error { return o.hook.Delete(name, done) })
}

// Pause implements admin.Channels.
func (o operatedChannels) Pause(ctx context.Context, name string) error {
	return stored(ctx, func(done func(error)) error { return o.hook.Pause(name, done) })
}

// Resume implements admin.Channels.
func (o operatedChannels) Resume(ctx context.Context, name string) error {
	return stored(ctx, func(done func(error)) error { return o.hook.Resume(name, done) })
}

// Empty implements admin.Channels.
func (o operatedChannels) Empty(ctx context.Context, name string) (dropped uint64, err error) {
	before, err := o.hook.Stat(name)
	if err != nil {
		return 0, blameChannel(err)
	}
	err = stored(ctx, func(done func(error)) error { return o.hook.Empty(name, func() { done(nil) }) })
	if err != nil {
		return 0, err
	}
	after, err := o.hook.Stat(name)
	return after.Dropped[hooks.DropEmptied] - before.Dropped[hooks.DropEmptied], blameChannel(err)
}

// Requeue implements admin.Channels.
func (o operatedChannels) Requeue(ctx context.Context, name string, numbers []uint64) (admin.Requeued, error) {
	before, err := o.hook.Stat(name)
	if err != nil {
		return admin.Requeued{}, blameChannel(err)
	}
	left := make(chan int, 1)
	err = stored(ctx, func(done func(error)) error {
		return o.hook.PutBack(name, numbers, func(stay int) {
			left <- stay
			done(nil)
		})
	})
	if err != nil {
		return admin.Requeued{}, err
	}
	after, err := o.hook.Stat(name)
	return admin.Requeued{Moved: after.PutBack - before.PutBack, Stay: <-left}, blameChannel(err)
}

// stored waits until what change begins is on disk.
func stored(ctx context.Context, change func(done func(error)) error) error {
	told := make(chan error, 1)
	if err := change(func(err error) { told <- err }); err != nil {
		return blameChannel(err)
	}
	select {
	case err := <-told:
		return blameChannel(err)
	case <-ctx.Done():
		return admin.ErrOngoing
	}
}

// Peek implements admin.Channels.
func (o operatedChannels) Peek(name string, from uint64, count int) ([]admin.PeekedMessage, error) {
	found, err := o.hook.Peek(name, from, count)
	if err != nil {
		return nil, blameChannel(err)
	}
	peeked := []admin.PeekedMessage{}
	for i := range found {
		peeked = append(peeked, peekedMessage(&found[i]))
	}
	return peeked, nil
}

func peekedMessage(p *channel.Peeked) admin.PeekedMessage {
	m := p.Message
	shown := admin.PeekedMessage{
		Number: p.Number, Topic: p.Topic, QoS: m.QoS, Retain: m.Retain, Publisher: m.Publisher, Received: time.Unix(0, m.Received).UTC(),
		DeadLetter: p.DeadLetter, Client: p.Client, Deliveries: p.Deliveries, Failures: p.Failures, Due: p.Due,
	}
	if utf8.Valid(m.Payload) {
		shown.Payload = string(m.Payload)
	} else {
		shown.Base64 = m.Payload
	}
	if m.Expires != 0 {
		shown.Expires = time.Unix(0, m.Expires).UTC()
	}
	for name, value := range packet.UserProperties(m.Properties) {
		shown.User = append(shown.User, admin.UserProperty{Name: name, Value: value})
	}
	return shown
}

// A blamed is an error with the kind of it that the admin side knows.
type blamed struct {
	error
	kind error
}

// Unwrap implements errors.Is and errors.As for both.
func (b blamed) Unwrap() []error { return []error{b.error, b.kind} }

// blameChannel tells the errors of who asked from others.
func blameChannel(err error) error {
	var mistake *configs.Error
	switch {
	case errors.As(err, &mistake):
		text := mistake.Text
		if mistake.Where != "" {
			text = mistake.Where + ": " + text
		}
		return &admin.FieldError{Field: mistake.Key, Err: errors.New(text)}
	case errors.Is(err, channel.ErrUnknown):
		return blamed{err, admin.ErrNoChannel}
	case errors.Is(err, channel.ErrExists), errors.Is(err, channel.ErrDeclared), errors.Is(err, channel.ErrBusy):
		return blamed{err, admin.ErrConflict}
	}
	return err
}
