package spread

// A links is a Delivery's place in one list.
type links struct{ before, after *Delivery }

// A list holds Deliveries in the order in which they were appended. The function says which of a Delivery's places
// belongs to it.
type list struct {
	first, last *Delivery
	len         int
	place       func(*Delivery) *links
}

func (l *list) append(d *Delivery) {
	at := l.place(d)
	at.before, at.after = l.last, nil
	if l.last == nil {
		l.first = d
	} else {
		l.place(l.last).after = d
	}
	l.last = d
	l.len++
}

func (l *list) remove(d *Delivery) {
	at := l.place(d)
	if at.before == nil {
		l.first = at.after
	} else {
		l.place(at.before).after = at.after
	}
	if at.after == nil {
		l.last = at.before
	} else {
		l.place(at.after).before = at.before
	}
	*at = links{}
	l.len--
}
