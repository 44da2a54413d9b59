// Package hooks is where a program extends the broker: it names the points at
// which the broker asks or tells, as small interfaces, and chains the hooks
// that implement them.
//
// A Hook is anything with a name. It implements any of the interfaces below
// and is asked at those points only. Hooks are asked in the order in which they were
// given to the broker. Its nouns are the Hook, the Client it is asked about and the
// Decision it gives. See example_test.go for a whole hook.
//
// Unless an interface says otherwise, its methods are called on the goroutine that
// serves the connection and must not block: the connection, and with an event loop its
// neighbours, wait for them. A hook that panics ends the connection it was asked about,
// not the broker.
package hooks

import (
	"context"
	"net"

	"github.com/penstockmq/penstock/broker/packet"
)

// A Hook extends the broker at one or more of the points in this package.
type Hook interface {
	// Name identifies the hook in logs and metrics. It never changes.
	Name() string
}

// A Client is what the broker knows of a connected client, or of the last client that held an
// offline session. It does not change once the client is accepted, except through Authenticator
// and EnhancedAuthenticator before that.
type Client struct {
	ID         string
	Username   string   // may be replaced by an authenticator
	Groups     []string // set by an authenticator; what ACL rules may refer to
	CommonName string   // of the verified TLS client certificate, else empty
	Remote     net.Addr // where the client is, after PROXY protocol; nil for a session loaded from the store
	Listener   string   // name of the listener it came through
	Version    byte     // 3 (MQTT 3.1), 4 (3.1.1) or 5
	Clean      bool     // clean start / clean session
	KeepAlive  uint16   // seconds, 0 is none
	// SessionExpiry is how long the session outlives the connection, in seconds; 0 is not at all, 0xFFFFFFFF for ever.
	SessionExpiry uint32
	Bridge        bool // it set the bit in the protocol level by which bridges say so with MQTT 3.1 and 3.1.1
	// User are the user properties of the CONNECT packet.
	User []packet.UserProperty
}

// Credentials are what a client showed in CONNECT.
type Credentials struct {
	Username    string
	HasUsername bool
	Password    []byte
	HasPassword bool
}

// A Decision answers a question of the broker.
type Decision struct {
	Verdict Verdict
	Code    packet.Code // with Deny: what the client is told; 0 means NotAuthorized
	Reason  string      // with Deny: for the log, and the client unless auth.hide_reasons
}

// A Verdict is the answer inside a Decision.
type Verdict byte

// The verdicts. Pass leaves the question to the next hook in the chain.
const (
	Pass Verdict = iota
	Allow
	Deny
	// Handled is for a PublishInterceptor alone: it has dealt with the message, which goes to nobody and is
	// acknowledged with Code, Success or NoMatchingSubscribers.
	Handled
)

// Authenticator decides who may connect. It is asked on a goroutine of its own and may block
// until ctx ends (limits.connect_timeout). The first hook that does not Pass decides; if all
// pass, the client is refused.
type Authenticator interface {
	Authenticate(ctx context.Context, c *Client, cred Credentials) Decision
}

// EnhancedAuthenticator serves one method of MQTT 5 enhanced authentication (MQTT 5, 4.12).
type EnhancedAuthenticator interface {
	// Method is the authentication method's name, for instance SCRAM-SHA-256.
	Method() string
	// Begin starts an exchange, at CONNECT and at each re-authentication.
	Begin(c *Client) Exchange
}

// An Exchange is one run of an authentication method. Its methods are called one at a time, on a
// goroutine of their own, and may block until ctx ends.
type Exchange interface {
	// Step takes what the client sent and returns what to send back. The exchange goes on while
	// the verdict is Pass, succeeds with Allow (reply is then the authentication data of the
	// CONNACK or the closing AUTH) and fails with Deny. A successful exchange may set
	// Client.Username and Client.Groups.
	Step(ctx context.Context, c *Client, data []byte) (reply []byte, d Decision)
}

// PublishAuthorizer decides whether a client may publish to a topic, a will included. The answer is kept for
// the connection and topic until Broker.Recheck. The first that does not Pass decides; if all
// pass, it is allowed.
type PublishAuthorizer interface {
	AuthorizePublish(c *Client, topic string, qos byte, retain bool) Decision
}

// SubscribeAuthorizer decides whether a client may subscribe to a filter (for a
// shared subscription the filter behind the group's name). It is asked again for live subscriptions after
// Broker.Recheck. The first that does not Pass decides; if all pass, it is allowed.
type SubscribeAuthorizer interface {
	AuthorizeSubscribe(c *Client, filter string, qos byte) Decision
}

// ReceiveAuthorizer decides whether a client may receive messages of a topic it is subscribed to,
// retained ones included. The answer is kept until Broker.Recheck, except for members of shared
// subscriptions, who are asked about for each message. If all pass, it is allowed.
type ReceiveAuthorizer interface {
	AuthorizeReceive(c *Client, topic string) Decision
}

// PublishInterceptor sees every message before it is routed or stored: from
// clients (c is set), wills (c is the client whose will it is), and hooks and bridges (c is nil).
// It returns the message to route: m itself, or a changed copy. With Deny the
// message goes nowhere and Code is the publisher's acknowledgement (0x80 or above;
// MQTT 3.1.1 has no such code: the connection is closed for 0x97, otherwise the message
// is acknowledged and dropped). With Handled the message goes nowhere and was dealt with. With Allow no later interceptor is asked. It must not keep m without copying it
// when m.QoS is 0: the bytes are the connection's read buffer.
type PublishInterceptor interface {
	OnPublish(c *Client, m *packet.Message) (*packet.Message, Decision)
}

// A PublishSelector is a PublishInterceptor that looks at a few messages only: the others cost nothing.
type PublishSelector interface {
	PublishInterceptor
	// Selects reports whether OnPublish is to see m. It must not keep m, and it must be cheap: it is asked about every message.
	Selects(m *packet.Message) bool
}

// A PublishFollower is a PublishInterceptor that must know when a message has its place in every queue: what OnPublish decides
// about the next one may depend on it.
type PublishFollower interface {
	PublishInterceptor
	// Follows reports whether Routed is to be told of the message of c that OnPublish saw last. It must not block.
	Follows(c *Client) bool
	// Routed is told after OnPublish, whatever became of the message, on the same goroutine.
	Routed(c *Client)
}

// A Subscription is one filter of a SUBSCRIBE packet.
type Subscription struct {
	Filter            string // as sent, with $share/<group>/ in front for a shared subscription
	QoS               byte   // requested, then granted
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte   // 0, 1 or 2 (MQTT 5, 3.8.3.1)
	ID                uint32 // subscription identifier, 0 is none
}

// SubscribeInterceptor sees every allowed subscription before it is made and may lower
// its QoS or refuse it with a code.
type SubscribeInterceptor interface {
	OnSubscribe(c *Client, s *Subscription) Decision
}

// SessionObserver learns of sessions and connections.
type SessionObserver interface {
	// OnConnect tells that a client was accepted; present tells that it resumed a session.
	OnConnect(c *Client, present bool)
	// OnDisconnect tells that the connection is gone; the session may live on.
	OnDisconnect(c *Client, reason string)
	// OnSessionEnd tells that the session is gone: expired, discarded by a clean start, or removed.
	OnSessionEnd(clientID string, reason string)
	// OnUnsubscribe tells that a subscription is gone by UNSUBSCRIBE.
	OnUnsubscribe(c *Client, filter string)
}

// DeliveryObserver learns what becomes of messages.
type DeliveryObserver interface {
	// OnDelivered tells that m was written to the client's outbox (each time, for QoS 1 and 2).
	OnDelivered(clientID string, m *packet.Message)
	// OnAcked tells that the client took responsibility for m (PUBACK, or PUBREC for QoS 2), or refused it
	// with code ≥ 0x80.
	OnAcked(clientID string, m *packet.Message, code packet.Code)
	// OnDropped tells that m will not be delivered to the client and why. clientID is empty when m goes to
	// nobody: the publish was refused, or a shared subscription had no member for it.
	OnDropped(clientID string, m *packet.Message, reason DropReason)
}

// A DropReason says why a message was not delivered. The values are the label
// values of the metric penstock_messages_dropped_total.
type DropReason string

// The reasons.
const (
	DropOutboxFull     DropReason = "outbox_full"      // QoS 0, the receiver reads too slowly (limits.max_outbox_bytes)
	DropQueueFull      DropReason = "queue_full"       // limits.max_queue_messages or max_queue_bytes
	DropExpired        DropReason = "expired"          // message expiry interval passed
	DropTooLarge       DropReason = "packet_too_large" // larger than the receiver's maximum packet size
	DropSessionEnded   DropReason = "session_ended"    // the session ended with messages queued
	DropOffline        DropReason = "offline"          // QoS 0, no connection
	DropNoMember       DropReason = "no_member"        // shared subscription without a member that can take it
	DropRefused        DropReason = "refused"          // the receiver answered with a reason code ≥ 0x80
	DropNotAuthorized  DropReason = "not_authorized"   // publish refused by an authorizer
	DropIntercepted    DropReason = "intercepted"      // refused by a PublishInterceptor
	DropRetainedFull   DropReason = "retained_full"    // limits.max_retained_messages or max_retained_bytes
	DropStorage        DropReason = "storage"          // the store refused it
	DropInvalidUTF8    DropReason = "payload_format"   // payload is not the UTF-8 it claims to be
	DropUnsubscribed   DropReason = "unsubscribed"     // queued for a subscription that is gone
	DropReceiverFailed DropReason = "receiver_failed"  // an Owner's Receive returned an error
	DropAttempts       DropReason = "max_attempts"     // a channel without a dead letter gave it up
	DropEmptied        DropReason = "emptied"          // somebody emptied or deleted the channel that it waited in
)

// DropReasons lists every reason, so that a metric can start at zero for each.
var DropReasons = []DropReason{
	DropOutboxFull, DropQueueFull, DropExpired, DropTooLarge, DropSessionEnded, DropOffline, DropNoMember,
	DropRefused, DropNotAuthorized, DropIntercepted, DropRetainedFull, DropStorage, DropInvalidUTF8, DropUnsubscribed, DropReceiverFailed,
	DropAttempts, DropEmptied,
}

// An Owner is a hook that owns filters: every message matching one is handed to it as to a session.
type Owner interface {
	// Receive takes m, routed because it matched filter. An error refuses the message for
	// this owner only; it is counted as DropReceiverFailed. It must not keep m
	// without copying it when m.QoS is 0.
	Receive(filter string, m *packet.Message) error
}

// A Delivery is a message for one client, outside of any subscription.
type Delivery struct {
	Message *packet.Message
	// QoS 2 is exact while the broker runs. It is not stored: after a restart of the broker, a client that keeps its session
	// (Client.SessionExpiry) may take a later message for this one. Use 0 or 1 towards such clients.
	QoS    byte
	Retain bool
	// Subscription identifiers to send along.
	SubscriptionIDs []uint32
	// Done is told once what became of the delivery. It must not block.
	Done func(b Batch, a Answer)
}

// An Answer is what became of a Delivery.
type Answer struct {
	// Acked tells that the client answered; with QoS 0, that the message was written to its outbox. Else the connection or the
	// session ended first.
	Acked bool
	Code  packet.Code // of PUBACK, or of PUBREC for QoS 2
	// User are the user properties of that packet (MQTT 5).
	User []packet.UserProperty
}

// A Batch gathers deliveries: every client that gets some is written to once, when the batch ends. It belongs to
// one goroutine. One that a hook is handed ends by itself some time after the hook's method has returned, and must not be kept.
type Batch interface {
	// Deliver is Broker.Deliver.
	Deliver(clientID string, d Delivery) error
	// Done is Queue.Done for a message of q that nobody waits for.
	Done(q Queue, number uint64)
	// End must follow Broker.Batch, and only that.
	End()
}

// Starter is implemented by hooks that need the broker.
type Starter interface {
	// Start is called once before the first listener opens. An error stops the broker.
	Start(b Broker) error
}

// Opener is implemented by hooks that publish by themselves, without anything that a client does.
type Opener interface {
	// Open is called once, after the Start of every hook: whoever is to receive what is published from then on is there.
	Open()
}

// Stopper is implemented by hooks that hold resources. Stop is called once, after the last connection has ended.
type Stopper interface {
	Stop() error
}

// Broker is what a hook may ask of the broker. Its methods are safe for concurrent use and
// do not wait for any client; they must not be called from OnDelivered, OnAcked and OnDropped.
type Broker interface {
	// Publish routes m as if a client had published it. Below $SYS/, where no client may, a retained message is kept in
	// memory only. done, if not nil, is called once when m is stored
	// for every durable receiver, or with the error that kept it from that.
	Publish(m *packet.Message, done func(error))
	// PublishSaving is Publish and Save in one atomic step: after a crash either both happened or neither.
	PublishSaving(hook string, m *packet.Message, records []Record, done func(error))
	// Own has every message that matches filter handed to o until release is called.
	// It fails if filter is not a valid topic filter.
	Own(filter string, o Owner) (release func(), err error)
	// Deliver hands d to the client's connection. It fails with ErrOffline when there is none, with
	// ErrBusy when the client's receive maximum or outbox has no room now.
	Deliver(clientID string, d Delivery) error
	// Batch begins a batch of deliveries.
	Batch() Batch
	// Disconnect ends a client's connection, with a DISCONNECT for MQTT 5. It reports whether there was one.
	Disconnect(clientID string, code packet.Code, reason string) bool
	// Recheck forgets every kept authorization and asks again for live subscriptions: those now
	// refused stop receiving.
	Recheck()

	// MayPublish and MayReceive ask the authorizers about a topic, MaySubscribe about a filter, for a hook that stands
	// for another one. The answer is not kept.
	MayPublish(c *Client, topic string, qos byte, retain bool) Decision
	MayReceive(c *Client, topic string) Decision
	MaySubscribe(c *Client, filter string, qos byte) Decision
	// Drop counts a message that a hook will not deliver, and tells the DeliveryObservers.
	Drop(clientID string, m *packet.Message, reason DropReason)

	// OpenQueue opens the durable queue that a hook calls name, making it if there is none. Messages that were in it
	// when the broker stopped are there; its feeds are not and must be set up again. It fails if the queue is open.
	// made, if not nil, is called once a new queue is on disk, or with the reason why it is not; of one that was there, it is called at once.
	OpenQueue(hook, name string, in Intake, made func(error)) (Queue, error)
	// Queues lists the names of a hook's queues, open or not. A hook deletes those that it does not want any more by opening them.
	Queues(hook string) []string
	// Save writes records of a hook, all or none. done, if not nil, is called once they are on disk, or with the reason why not.
	Save(hook string, records []Record, done func(error))
	// Saved visits the records of a hook as they were when the broker started, in no order. It may be called only from Start.
	Saved(hook string, visit func(key string, value []byte))
	// Serve has a hook serve subscriptions by itself: the broker keeps them in their sessions and tells m of them, and
	// routes nothing to them. filter is a whole shared subscription, "$share/<name>/<filter>", or a prefix that begins with $ and ends with a slash, such
	// as "$channel/", for all filters that begin with it. It fails if filter is served already. After release those of a share get messages
	// from the broker again.
	Serve(filter string, m Members) (release func(), err error)
}
