package crash

import (
	"fmt"
	"slices"
)

// check compares what was received with what was acknowledged, session by session.
func (r *run) check() {
	published := make([][]publication, len(r.streams))
	for i, s := range r.streams {
		published[i] = s.all()
	}
	for _, s := range r.sessions {
		for i, receipts := range s.byStream(len(r.streams)) {
			v := &verdict{run: r, session: s, stream: r.streams[i], sent: published[i], receipts: receipts}
			v.lives = slices.DeleteFunc(slices.Clone(s.lives), func(l *life) bool { return !matches(l.filter, v.stream.topic) })
			v.judge()
		}
	}
}

// byStream sorts receipts by stream, in the order of their arrival.
func (s *session) byStream(streams int) [][]receipt {
	sorted := make([][]receipt, streams)
	for _, rc := range s.receipts {
		sorted[rc.stream] = append(sorted[rc.stream], rc)
	}
	return sorted
}

// A verdict judges what one session received of one stream.
type verdict struct {
	run      *run
	session  *session
	stream   *stream
	sent     []publication
	receipts []receipt
	lives    []*life // of the session's subscriptions, those that match
}

func (v *verdict) report(k kind, format string, args ...any) {
	v.run.report(k, "%s, %s with QoS %d: %s", v.session.client, v.stream.topic, v.stream.qos, fmt.Sprintf(format, args...))
}

func (v *verdict) judge() {
	live := v.taken(false)
	v.judgeOrder(live)
	v.judgeCopies(live)
	v.judgeCalled(live)
	v.judgeRetained()
	if v.session.complete && v.session.ended.begun == 0 {
		v.judgeComplete(live)
	}
}

// taken are the receipts that the client took as messages: without the repeats of QoS 2. Either those that came because of a
// new subscription, with RETAIN, or the others.
func (v *verdict) taken(retain bool) []receipt {
	return slices.DeleteFunc(slices.Clone(v.receipts), func(rc receipt) bool { return rc.repeat || rc.retain != retain })
}

// judgeOrder: each message comes for the first time after those before it [MQTT5-4.6.0-6]; and what comes again does so in order too.
func (v *verdict) judgeOrder(live []receipt) {
	newest, previous, link := 0, 0, 0
	backs := map[int]int{} // on each connection
	seen := map[int]bool{}
	for _, rc := range live {
		if !seen[rc.counter] && rc.counter < newest && !v.lateEntry(rc.counter) {
			v.report(kindOrder, "message %d came first after %d", rc.counter, newest)
			return
		}
		seen[rc.counter] = true
		newest = max(newest, rc.counter)
		if rc.link == link && rc.counter <= previous {
			backs[link]++
		}
		previous, link = rc.counter, rc.link
	}
	// A new connection may begin the unacknowledged ones again. On each, the stream goes back where its publisher began again:
	// those copies are in the queue behind the first, and may be sent again together with them.
	most := v.resends() + v.republished(live)
	for _, n := range backs {
		if n > most {
			v.report(kindOrder, "it went back in the stream %d times on one connection, and its publisher began again %d times", n, most)
			return
		}
	}
}

// republished is how often a will came under another identifier than before; see judgeAgain.
func (v *verdict) republished(live []receipt) (n int) {
	if !v.stream.will {
		return 0
	}
	ids := map[int]uint16{}
	for _, rc := range live {
		if id, known := ids[rc.counter]; known && id != rc.id {
			n++
		}
		ids[rc.counter] = rc.id
	}
	return n
}

// lateEntry reports whether a message may come late because the subscription was made between it and a later message, and the publisher
// sent both again.
func (v *verdict) lateEntry(counter int) bool {
	if counter > len(v.sent) || v.sent[counter-1].sends == 1 {
		return false
	}
	least, _ := v.granted(v.sent[counter-1].span)
	return least == 0
}

// resends is how often the publisher can have begun again: the most often any of its messages was sent again, summed over messages that were in flight together.
func (v *verdict) resends() (n int) {
	previous := 0
	for _, p := range v.sent {
		if again := p.sends - 1; again > previous {
			n += again - previous
		}
		previous = p.sends - 1
	}
	return n
}

// judgeCopies: a QoS 2 message is taken once [MQTT5-4.3.3]; a QoS 1 message more than once only if somebody's connection broke,
// and under no more packet identifiers than it was sent with.
func (v *verdict) judgeCopies(live []receipt) {
	copies := map[int][]receipt{}
	for _, rc := range live {
		copies[rc.counter] = append(copies[rc.counter], rc)
	}
	for counter, list := range copies {
		if counter > len(v.sent) {
			v.report(kindCorrupt, "message %d was never sent", counter)
			continue
		}
		if len(list) > 1 {
			v.judgeAgain(counter, list)
		}
	}
}

func (v *verdict) judgeAgain(counter int, list []receipt) {
	ids, links := map[uint16]bool{}, map[int]int{}
	again := 0 // on one connection
	start := uint64(0)
	for _, rc := range list {
		ids[rc.id] = true
		links[rc.link]++
		again = max(again, links[rc.link])
		start = max(start, rc.start)
	}
	sends, most := v.sent[counter-1].sends, 1
	if p := v.sent[counter-1]; v.stream.will {
		// A broker that ends while it publishes a will publishes it again: nobody was told that it did.
		sends = 1 + int(start-p.accepted)
		most = sends
	}
	switch {
	case list[0].qos == 2 && len(list) <= most:
	case list[0].qos == 2:
		v.report(kindTwice, "message %d was delivered %d times: %v", counter, len(list), list)
	case again > sends:
		v.report(kindTwice, "message %d, sent %d times, came %d times on one connection: %v", counter, sends, again, list)
	case len(ids) > sends:
		v.report(kindPacketID, "message %d, sent %d times, came under %d packet identifiers: %v", counter, sends, len(ids), list)
	default:
		v.run.counts.duplicates.Add(int64(len(list) - 1))
	}
}

// judgeCalled: a subscription was there for each message, with its QoS.
func (v *verdict) judgeCalled(live []receipt) {
	for _, rc := range live {
		if rc.counter > len(v.sent) {
			continue
		}
		p := v.sent[rc.counter-1]
		least, most := v.granted(p.span)
		switch {
		case p.forbidden:
			v.report(kindUncalled, "will %d was taken back with DISCONNECT", rc.counter)
			return
		case most == 0:
			v.report(kindUncalled, "message %d came without a subscription", rc.counter)
			return
		case rc.qos < min(least, v.stream.qos), rc.qos > min(most, v.stream.qos):
			v.report(kindQoS, "message %d came with QoS %d; granted are %d to %d", rc.counter, rc.qos, least, most)
			return
		}
	}
}

// granted is the highest QoS of the subscriptions that were surely there when a message was
// routed, and of those that may have been: 0 if there was none.
func (v *verdict) granted(at span) (least, most byte) {
	for _, l := range v.lives {
		if l.start.maybeBefore(at) && at.maybeBefore(l.end) && at.maybeBefore(v.session.ended) {
			most = max(most, l.qos)
		}
		if l.start.surelyBefore(at) && (l.end.begun == 0 || at.surelyBefore(l.end)) {
			least = max(least, l.qos)
		}
	}
	return least, most
}

// judgeComplete: what was acknowledged while a subscription was surely there has come.
func (v *verdict) judgeComplete(live []receipt) {
	have := map[int]bool{}
	for _, rc := range live {
		have[rc.counter] = true
	}
	missing := 0
	var first int
	for i, p := range v.sent {
		if p.done == 0 || p.deletes || have[i+1] {
			continue
		}
		if least, _ := v.granted(p.span); least > 0 {
			if missing++; missing == 1 {
				first = i + 1
			}
		}
	}
	if missing > 0 {
		v.report(kindLost, "%d acknowledged messages did not come, the first is %d of %d%s", missing, first, len(v.sent), v.sent[first-1].origin())
	}
}

// judgeRetained: a retained message that a new subscription brought was not one that had been replaced before SUBSCRIBE.
func (v *verdict) judgeRetained() {
	var asked span // the first SUBSCRIBE that can have brought it
	for _, l := range v.lives {
		if l.start.begun != 0 && (asked.begun == 0 || l.start.begun < asked.begun) {
			asked = l.start
		}
	}
	least := 0
	for i, p := range v.sent {
		if p.surelyBefore(asked) {
			least = i + 1
		}
	}
	for _, rc := range v.taken(true) {
		switch {
		case asked.begun == 0:
			v.report(kindUncalled, "retained message %d came without a subscription", rc.counter)
		case rc.counter < least:
			v.report(kindRetained, "message %d came, though %d had replaced it before SUBSCRIBE", rc.counter, least)
		}
	}
}
