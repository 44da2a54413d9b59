package crash

import "github.com/penstockmq/penstock/storage"

// A fault breaks one promise of a store on purpose, to show that a run finds it.
type fault struct {
	name  string
	says  string // what is wrong with such a store
	finds []kind // any of these is the right finding
	kills int    // 0: six, and the run ends with the first violation
	slow  bool   // commits take a while, as on a slow disk, so that what was not waited for is often lost
	wrap  func(storage.Store) storage.Store
}

// none is no fault: the same broker as it should be.
func none() fault {
	return fault{name: "none", says: "nothing is wrong", wrap: func(s storage.Store) storage.Store { return s }}
}

// faults are all there are. The one that is not a wrapper, storage.sync: never under power cuts, is in its test.
func faults() []fault {
	return []fault{
		{
			name: "ack-first", says: "PUBACK and PUBREC do not wait for the store", slow: true, kills: 1,
			finds: []kind{kindLost, kindRetained}, wrap: func(s storage.Store) storage.Store { return ackFirst{s} },
		},
		{
			name: "suback-first", says: "SUBACK does not wait for the store", slow: true,
			finds: []kind{kindLost, kindSubscription},
			wrap:  func(s storage.Store) storage.Store { return changesFirst{s, isA[storage.PutSubscription]} },
		},
		{
			name: "connack-first", says: "CONNACK does not wait for the store", slow: true, kills: 3,
			finds: []kind{kindSessionLost, kindLost},
			wrap:  func(s storage.Store) storage.Store { return changesFirst{s, isA[storage.PutSession]} },
		},
		{
			name: "order", says: "every 20th message is stored after the one that follows it",
			finds: []kind{kindOrder}, wrap: func(s storage.Store) storage.Store { return &swapping{Store: s} },
		},
		{
			name: "unread", says: "every 50th message is left out when a queue is read",
			finds: []kind{kindLost, kindResend}, wrap: func(s storage.Store) storage.Store { return &skipping{Store: s} },
		},
		{
			name: "acks", says: "the acknowledgements of subscribers are not stored",
			finds: []kind{kindTwice}, wrap: func(s storage.Store) storage.Store { return unacknowledged{s} }, kills: 1,
		},
		{
			name: "unsent", says: "it is not stored what was sent",
			finds: []kind{kindResend}, wrap: func(s storage.Store) storage.Store { return unsent{s} },
		},
		{
			name: "renumbered", says: "the numbers of queues, and so packet identifiers, are others after a start",
			finds: []kind{kindResend, kindPacketID}, wrap: func(s storage.Store) storage.Store { return newRenumbered(s) },
		},
		{
			name: "wills", says: "wills are not stored",
			finds: []kind{kindLost}, wrap: func(s storage.Store) storage.Store { return intestate{s} }, kills: 3,
		},
		{
			name: "received", says: "the identifiers of received QoS 2 messages are not stored",
			finds: []kind{kindTwice}, wrap: func(s storage.Store) storage.Store { return unreceived{s} },
		},
		{
			name: "released", says: "it is not stored that PUBREC came",
			finds: []kind{kindTwice}, wrap: func(s storage.Store) storage.Store { return unreleased{s} }, slow: true,
		},
		{
			name: "undead-retained", says: "retained messages are not deleted",
			finds: []kind{kindRetained}, wrap: func(s storage.Store) storage.Store { return undying{s} },
		},
		{
			name: "undead-session", says: "sessions are not deleted", finds: []kind{kindSessionBack},
			wrap: func(s storage.Store) storage.Store { return forgetting{s, isA[storage.DeleteSession]} },
		},
		{
			name: "unsubscribe", says: "subscriptions are not deleted", finds: []kind{kindUncalled, kindQoS},
			wrap: func(s storage.Store) storage.Store { return forgetting{s, isA[storage.DeleteSubscription]} },
		},
		{
			name: "subscribe", says: "subscriptions are not stored", finds: []kind{kindLost, kindSubscription},
			wrap: func(s storage.Store) storage.Store { return forgetting{s, isA[storage.PutSubscription]} },
		},
	}
}
