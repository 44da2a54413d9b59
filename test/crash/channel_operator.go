package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
)

// An operator pauses channels and resumes them, and asks how much is in them.
type operator struct {
	*client
	r       *channelRun
	tokens  int
	greeted bool // subscribed, over the connection there is
}

const operatorPauseMax = 1500 * time.Millisecond

// run goes on until the run drains and no channel is paused.
func (o *operator) run() {
	defer o.hangUp()
	for !o.r.isDraining() && !o.r.isOver() {
		out := o.r.outlets[o.rng.IntN(len(o.r.outlets))]
		pause, err := o.tell("pause", out.Name)
		o.pause(operatorPauseMax)
		begun := o.r.clock.now()
		if !o.resume(out) {
			return
		}
		if err == nil {
			out.paused = append(out.paused, span{pause.done, begun})
		}
		o.pause(operatorPauseMax / 2)
	}
}

// resume tells the broker until it has heard. It reports false if the run is over.
func (o *operator) resume(out *outlet) bool {
	for !o.r.isOver() {
		if _, err := o.tell("resume", out.Name); err == nil {
			return true
		}
		o.pause(reconnectPauseMax)
	}
	return false
}

// tell gives an order. It returns once that is on disk.
func (o *operator) tell(verb, name string) (at span, err error) {
	at.begun = o.r.clock.now()
	_, err = o.ask(verb, name)
	at.done = o.r.clock.now()
	return at, err
}

// depths asks how much is in each channel, and deferred.
func (o *operator) depths() (depths map[string]int, err error) {
	reply, err := o.ask("depths", "all")
	if err != nil {
		return nil, err
	}
	return depths, json.Unmarshal(reply, &depths)
}

// ask publishes an order and waits for the reply.
func (o *operator) ask(verb, name string) (reply []byte, err error) {
	defer func() {
		if err != nil {
			o.hangUp()
		}
	}()
	if err := o.greet(); err != nil {
		return nil, err
	}
	o.tokens++
	token := fmt.Sprint(o.tokens)
	out := packet.Outgoing{Topic: orderPrefix + verb + "/" + name, Payload: []byte(token), QoS: 1, ID: 9}
	if err := o.link.write(packet.AppendPublish(nil, o.version, &out)); err != nil {
		return nil, err
	}
	for {
		in, err := o.link.next()
		switch {
		case err != nil:
			return nil, err
		case packet.Type(in.FixedHeader.Type) == packet.PUBACK && in.ReasonCode >= 0x80:
			o.r.report(kindRefused, "%s %s: 0x%02x", verb, name, in.ReasonCode)
			return nil, errors.New("refused")
		case packet.Type(in.FixedHeader.Type) == packet.PUBLISH && in.TopicName == replyPrefix+token:
			return in.Payload, nil
		}
	}
}

// greet connects and subscribes to the replies, if that was not done.
func (o *operator) greet() error {
	if o.greeted {
		return nil
	}
	if _, _, err := o.connect(hello{clean: true, volatile: true}); err != nil {
		return err
	}
	if err := o.link.write(encodeSubscribe(o.version, 1, replyPrefix+"#", 0)); err != nil {
		return err
	}
	ack, err := o.link.next()
	if err != nil || packet.Type(ack.FixedHeader.Type) != packet.SUBACK {
		return fmt.Errorf("no SUBACK: %w", err)
	}
	o.greeted = true
	return nil
}

func (o *operator) hangUp() {
	o.greeted = false
	o.drop()
}
