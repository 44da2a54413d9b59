package crash

import (
	"github.com/penstockmq/penstock/broker/packet"
)

// barrierTopic carries a retained message whose acknowledgement says that everything before it is stored.
const barrierTopic = "barrier"

// aftermath looks, once everything has been delivered and acknowledged, whether that is remembered: after one more kill each session
// is there, and has nothing to deliver but what is published then.
//
// A subscriber is not told that its acknowledgements are stored. But they are in the log before the connection on which they came is closed,
// hence before the barrier.
func (r *run) aftermath() {
	if err := r.publishAlone(&packet.Outgoing{Topic: barrierTopic, Payload: []byte{1}, Retain: true}); err != nil {
		r.report(kindStalled, "the barrier: %v", err)
		return
	}
	if err := r.kill(); err != nil {
		r.report(kindBroker, "the kill after the end: %v", err)
		return
	}
	if err := r.start(); err != nil {
		r.report(kindBroker, "the start after the end: %v\n%s", err, r.host.said())
		return
	}
	for _, s := range r.subscribers {
		if err := s.comeBack(); err != nil {
			r.report(kindStalled, "%s, after the end: %v", s.id, err)
			return
		}
	}
	if err := r.publishAlone(&packet.Outgoing{Topic: endTopic}); err != nil {
		r.report(kindStalled, "the message after the end: %v", err)
		return
	}
	for _, s := range r.subscribers {
		if err := s.expectNothing(); err != nil {
			r.report(kindStalled, "%s, after the end: %v", s.id, err)
		}
		s.drop()
	}
}

// comeBack connects to the session, which connect wants to be there.
func (s *subscriber) comeBack() error {
	_, _, err := s.connect(hello{receiveMax: receiveMaximum})
	return err
}

// expectNothing wants the message after the end to be the first that comes.
func (s *subscriber) expectNothing() error {
	in, err := s.link.next()
	if err != nil {
		return err
	}
	a := arrival{id: in.PacketID, qos: in.FixedHeader.Qos}
	switch kind := packet.Type(in.FixedHeader.Type); {
	case kind != packet.PUBLISH:
		s.r.report(kindTwice, "%s: %s %d, which it had answered, came again after the end", s.id, kind, in.PacketID)
	case in.TopicName == endTopic && !in.FixedHeader.Dup:
	case in.TopicName == endTopic:
		s.r.report(kindTwice, "%s: the last message, which it had acknowledged, came again after the end", s.id)
	case s.identify(in, &a):
		s.r.report(kindTwice, "%s: %s, which it had acknowledged, came again after the end", s.id, s.r.name(a))
	}
	return nil
}
