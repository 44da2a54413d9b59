package script

import (
	"fmt"
	"testing/synctest"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// broker does what an operator, a hook or a power cut would do.
func (p *player) broker(o *options) error {
	if err := p.ready(); err != nil {
		return err
	}
	var err error
	switch verb := o.next("what the broker does"); verb {
	case "stop":
		err = p.stop()
	case "start":
		err = p.open()
	case "restart":
		if err = p.stop(); err == nil {
			p.settle() // the goodbyes
			err = p.open()
		}
	case "crash":
		err = p.crash()
	case "publish":
		p.publish(o)
	case "deliver":
		p.deliver(o)
	case "kick":
		p.kick(o)
	case "channel":
		err = p.channel(o)
	case "recheck":
		p.rules.broker.Recheck()
	default:
		err = fmt.Errorf("no broker step %q", verb)
	}
	if err != nil {
		return err
	}
	return o.done()
}

// crash loses whatever the store has not been told, and every connection.
func (p *player) crash() error {
	p.store.die()
	for _, c := range p.clients {
		c.close()
	}
	synctest.Wait()
	if err := p.stop(); err != nil {
		return err
	}
	return p.open()
}

func (p *player) publish(o *options) {
	m := &packet.Message{Topic: o.next("topic"), Payload: []byte(o.next("payload"))}
	m.QoS = byte(o.number("qos", 2, 0))
	m.Retain = o.flag("retain")
	p.rules.broker.Publish(m, func(err error) {
		if err != nil {
			p.rules.note("", "publish failed: %v", err)
		}
	})
}

// deliver hands a message to one client, outside of any subscription, and prints what became of it.
func (p *player) deliver(o *options) {
	id := p.identifier(o.next("client"))
	d := hooks.Delivery{
		Message: &packet.Message{Topic: o.next("topic"), Payload: []byte(o.next("payload"))},
		QoS:     byte(o.number("qos", 2, 0)), Retain: o.flag("retain"),
		Done: func(_ hooks.Batch, a hooks.Answer) {
			if !a.Acked {
				p.rules.note("", "delivery to %s was not acknowledged", id)
				return
			}
			p.rules.note("", "delivery to %s ended: %s", id, a.Code)
		},
	}
	if n := o.number("subid", 28, 0); n > 0 {
		d.SubscriptionIDs = []uint32{uint32(n)}
	}
	d.Message.QoS = d.QoS
	if err := p.rules.broker.Deliver(id, d); err != nil {
		p.rules.note("", "delivery to %s failed: %v", id, err)
	}
}

func (p *player) kick(o *options) {
	id := p.identifier(o.next("client"))
	code := packet.Code(o.number("code", 8, uint64(packet.AdministrativeAction)))
	if !p.rules.broker.Disconnect(id, code, "kicked") {
		p.rules.note("", "%s is not connected", id)
	}
}

// storeStep makes the store slow or full, or sound again.
func (p *player) storeStep(o *options) error {
	if err := p.ready(); err != nil {
		return err
	}
	switch verb := o.next("what the store does"); verb {
	case "hold":
		p.store.set(func(g *gate) { g.holds = true })
	case "release":
		p.store.release()
	case "full":
		p.store.set(func(g *gate) { g.full = true })
	case "ok":
		p.store.set(func(g *gate) { g.full = false })
	default:
		return fmt.Errorf("no store step %q", verb)
	}
	return o.done()
}
