package session

// An Outcome says what an acknowledgement did.
type Outcome byte

// The outcomes.
const (
	Unknown   Outcome = iota // no such identifier in flight
	Completed                // the delivery is done
	Released                 // QoS 2: the client has the message, PUBREL is to be sent
	Repeated                 // QoS 2: a second PUBREC, PUBREL is to be sent again
	Violation                // the wrong kind of acknowledgement for the message's QoS
)

// Puback takes a PUBACK. number is 0 for a delivery outside of the queue.
func (o *Outbound) Puback(id uint16) (outcome Outcome, number uint64, d Delivery) {
	number, s := o.find(id)
	switch {
	case s == nil:
		return Unknown, 0, Delivery{}
	case s.QoS != 1:
		return Violation, number, Delivery{}
	}
	return Completed, number, o.complete(id, number, s)
}

// Pubrec takes a PUBREC. A failed one ends the exchange: no PUBREL follows [MQTT5-4.3.3-4].
func (o *Outbound) Pubrec(id uint16, failed bool) (outcome Outcome, number uint64, d Delivery) {
	number, s := o.find(id)
	switch {
	case s == nil:
		return Unknown, 0, Delivery{}
	case s.QoS != 2:
		return Violation, number, Delivery{}
	case failed:
		return Completed, number, o.complete(id, number, s)
	case s.phase == released:
		return Repeated, number, s.Delivery
	}
	d = s.Delivery
	if s.phase = released; number == 0 {
		o.releaseExtra(id)
	}
	return Released, number, d
}

// Pubcomp takes a PUBCOMP.
func (o *Outbound) Pubcomp(id uint16) (outcome Outcome, number uint64, d Delivery) {
	number, s := o.find(id)
	switch {
	case s == nil:
		return Unknown, 0, Delivery{}
	case s.QoS != 2 || s.phase != released:
		return Violation, number, Delivery{}
	}
	return Completed, number, o.complete(id, number, s)
}

func (o *Outbound) complete(id uint16, number uint64, s *slot) Delivery {
	d := s.Delivery
	o.inflight--
	if number == 0 {
		delete(o.extras, id)
		return d
	}
	o.finish(number)
	return d
}

// find returns the open slot with a packet identifier that was sent on this connection.
func (o *Outbound) find(id uint16) (number uint64, s *slot) {
	if e := o.extras[id]; e != nil {
		return 0, &e.slot
	}
	if o.open == 0 || id == 0 {
		return 0, nil
	}
	number = o.head + uint64((int(id)-int(PacketID(o.head))+65535)%65535)
	if number >= o.resumed {
		return 0, nil
	}
	if s = o.at(number); s.phase == done || (number >= o.next && s.phase != released) {
		return 0, nil
	}
	return number, s
}
