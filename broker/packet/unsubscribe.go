package packet

// An Unsubscribe is an UNSUBSCRIBE packet. Its user properties are checked but not kept.
type Unsubscribe struct {
	ID      uint16
	Filters []string // as sent, UTF-8 strings and not empty; their syntax is not checked here
}

// DecodeUnsubscribe reads the body of an UNSUBSCRIBE packet. What it returns shares nothing with body.
func DecodeUnsubscribe(body []byte, v Version, l Limits) (*Unsubscribe, error) {
	r := cursor{rest: body}
	u := &Unsubscribe{ID: r.packetID(UNSUBSCRIBE)}
	if v == V5 {
		p := r.properties(unsubscribeProperties, l)
		for p.next() { // only to check them
		}
		r.adopt(&p)
	}
	if r.err == nil && len(r.rest) == 0 {
		r.fail(ProtocolError, "UNSUBSCRIBE: no topic filter") // [MQTT5-3.10.3-2] [MQTT311-3.10.3-2]
	}
	for len(r.rest) > 0 {
		u.Filters = append(u.Filters, string(r.filter()))
	}
	if r.err != nil {
		return nil, r.err
	}
	return u, nil
}
