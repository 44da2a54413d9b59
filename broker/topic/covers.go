package topic

import "strings"

// Covers reports whether outer matches every name that inner matches.
func Covers(outer, inner string) bool {
	outer, inner = spellOut(outer), spellOut(inner)
	for first := true; ; first = false {
		o, outerRest, outerMore := strings.Cut(outer, "/")
		if o == "#" {
			return true
		}
		i, innerRest, innerMore := strings.Cut(inner, "/")
		if i == "#" || !levelCovers(o, i, first) {
			return false
		}
		switch {
		case !innerMore:
			return !outerMore || outerRest == "#"
		case !outerMore:
			return false
		}
		outer, inner = outerRest, innerRest
	}
}

// Overlaps reports whether there is a name that both filters match.
func Overlaps(a, b string) bool {
	a, b = spellOut(a), spellOut(b)
	for first := true; ; first = false {
		levelA, restA, moreA := strings.Cut(a, "/")
		levelB, restB, moreB := strings.Cut(b, "/")
		if levelA == "#" || levelB == "#" {
			return true
		}
		if !levelCovers(levelA, levelB, first) && !levelCovers(levelB, levelA, first) {
			return false
		}
		switch {
		case !moreA:
			return !moreB || restB == "#"
		case !moreB:
			return restA == "#"
		}
		a, b = restA, restB
	}
}

// spellOut writes the two filters in full whose parent level is no name: a name is not empty [MQTT5-4.7.3-1]
// [MQTT311-4.7.3-1]. Then a # always stands for its parent too, and the first level is + or literal.
func spellOut(filter string) string {
	switch filter {
	case "#":
		return "+/#"
	case "/#":
		return "/+/#"
	}
	return filter
}

// levelCovers compares one level, neither being #. In the first level + does not
// stand for what starts with $ [MQTT5-4.7.2-1] [MQTT311-4.7.2-1].
func levelCovers(outer, inner string, first bool) bool {
	if outer == "+" {
		return !first || !isReserved(inner)
	}
	return outer == inner
}
