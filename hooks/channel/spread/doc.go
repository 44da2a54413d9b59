// Package spread holds the rules of a channel: which member gets which message of a durable queue, and when, until one of
// them has dealt with it.
//
// It does no I/O and has no lock, goroutine or clock: events come in as method calls with the time, what is to be done
// goes out as Deliveries (Spread.Next), as Effects (Spread.Effects) and as the part of the queue that it wants to see
// (Spread.Want). It keeps in memory what is in flight, what waits for another attempt and a page of what comes next;
// the rest stays in the queue, however long that is.
//
// Its nouns are the Spread (one channel), the Member, the entry (a message that was read and is not done), the Delivery
// (an entry on its way to a Member) and the lane (the messages of one key of an ordered channel, of which one at a
// time is on its way). It is tested rule by rule, and by comparing it with a simple model over random events.
package spread
