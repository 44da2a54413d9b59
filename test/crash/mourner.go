package crash

import (
	"time"
)

// A mourner connects with a will, stays a while and goes: mostly without a word, so that its will is
// published [MQTT5-3.1.2-8], sometimes with DISCONNECT, so that it is not [MQTT5-3.1.2-10]. Message n of its stream is
// the will of its connection attempt n.
type mourner struct {
	*client
	stream *stream
	delay  uint32 // seconds; only MQTT 5
}

const (
	mournerStayMax = 300 * time.Millisecond
	mournerLeaves  = 0.3 // with DISCONNECT
	// delaySlack is how much later than the client the broker may notice that it has gone.
	delaySlack = 1500 * time.Millisecond
)

// run goes on until the run drains. Its last connection takes its will back.
func (m *mourner) run() {
	defer m.drop()
	taken := 0 // the will that the last connection took back, in the incarnation that follows
	left := uint64(0)
	for !m.r.isOver() {
		last := m.r.isDraining()
		incarnation := m.r.incarnation.Load()
		counter, ok := m.connectWithWill()
		if !ok {
			m.pause(reconnectPauseMax)
			continue
		}
		known := incarnation == m.r.incarnation.Load() // it accepted this connection
		if taken != 0 && known && incarnation == left {
			m.stream.change(taken, func(p *publication) { p.forbidden = true })
		}
		taken = 0
		if last || m.chance(mournerLeaves) {
			if m.leaveInPeace() && known {
				taken, left = counter, incarnation
			}
			if last {
				return
			}
			continue
		}
		m.vanishAfterAWhile(counter)
	}
}

// connectWithWill connects with the next message of the stream as the will.
func (m *mourner) connectWithWill() (counter int, ok bool) {
	counter = m.stream.add(publication{span: span{begun: m.r.clock.now()}, sends: 1, accepted: m.r.incarnation.Load()})
	_, _, err := m.connect(hello{will: &testament{
		topic: m.stream.topic, payload: m.stream.payload(counter), qos: m.stream.qos, delay: m.delay,
	}})
	return counter, err == nil
}

// leaveInPeace disconnects. It reports whether the broker has seen it.
func (m *mourner) leaveInPeace() bool {
	if m.link.write(encodeDisconnect()) != nil {
		m.drop()
		return false
	}
	ended := m.link.awaitEnd()
	m.drop()
	return ended
}

// vanishAfterAWhile ends the connection so that the will must be published: what was accepted is a promise. One with a
// delay is a promise only if the client stays away for longer.
func (m *mourner) vanishAfterAWhile(counter int) {
	m.pause(mournerStayMax)
	m.drop()
	if m.delay > 0 && !m.awaitDelay() {
		return
	}
	m.stream.change(counter, func(p *publication) { p.done, p.left = last, m.r.incarnation.Load() })
	m.pause(mournerStayMax)
}

// awaitDelay waits until one incarnation of the broker has served for the delay: one that was ended before it knew that
// the client had gone can only count from its next start. It reports false if that does not happen for a long time.
func (m *mourner) awaitDelay() bool {
	const tries = 5
	for range tries {
		kills, ok := m.r.lives() // not from the launch on: a start takes a while
		if !ok {
			return false
		}
		timer := time.NewTimer(time.Duration(m.delay)*time.Second + delaySlack)
		select {
		case <-timer.C:
		case <-m.r.over:
			timer.Stop()
			return false
		}
		if kills == m.r.counts.kills.Load() {
			return true
		}
	}
	return false
}

// last is the moment at which everything that was promised must have happened.
const last = ^moment(0)
