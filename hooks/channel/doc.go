// Package channel holds the hook that turns topic filters into channels: durable queues whose messages are spread over
// members, as nsqd does for its consumers.
//
// A channel has a name and a filter. It gets a copy of every message that matches, keeps it on disk and hands it to one
// of its members until one has dealt with it. Members are subscriptions of MQTT clients of any version: to $channel/<name>, or to
// $share/<name>/<filter>. It lives without members and without sessions. See docs/channels.md for all of it.
//
// The rules of who gets what when are in package spread; this package owns what they act on: the queue of each channel in the
// broker's store, timers, members, deliveries, dead letters, deferred publishes, and the records that must survive a
// restart. It does not touch the broker otherwise than through package hooks, and does not serve HTTP: what an
// operator may do and see are the exported methods of Channels.
//
// Its nouns are the Channels (all of them), the channel (one, with its Spread) and the member. It is tested by scripts against a
// whole broker (test/scripts/channel), and here with a broker in memory and a fake clock.
//
// Lock order: Channels.reloading, Channels.making, Channels.sharing, Channels.mu, channel.mu. The broker is called with none of them held but the first three.
package channel
