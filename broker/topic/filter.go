package topic

import "strings"

// CheckFilter says what is wrong with a topic filter, or nil. Of a shared
// subscription it checks the filter that ParseShared returns.
func CheckFilter(filter string, l Limits) error {
	if err := checkString(filter, l); err != nil {
		return err
	}
	for more := HasWildcard(filter); more; {
		var level string
		level, filter, more = strings.Cut(filter, "/")
		if strings.Contains(level, "#") && (level != "#" || more) {
			return ErrMultiLevel // [MQTT5-4.7.1-1] [MQTT311-4.7.1-2]
		}
		if strings.Contains(level, "+") && level != "+" {
			return ErrSingleLevel // [MQTT5-4.7.1-2] [MQTT311-4.7.1-3]
		}
	}
	return nil
}

// HasWildcard reports whether a filter contains + or #, so may match more than one name.
func HasWildcard(filter string) bool {
	return strings.IndexByte(filter, '+') >= 0 || strings.IndexByte(filter, '#') >= 0
}

// Match reports whether a filter matches a name. It is the plain statement of the
// rule, which Index and Tree are tested against.
func Match(filter, name string) bool {
	if isReserved(name) && (filter[:min(1, len(filter))] == "+" || filter[:min(1, len(filter))] == "#") {
		return false // [MQTT5-4.7.2-1] [MQTT311-4.7.2-1]
	}
	for {
		wanted, filterRest, filterMore := strings.Cut(filter, "/")
		if wanted == "#" {
			return true
		}
		level, nameRest, nameMore := strings.Cut(name, "/")
		if wanted != "+" && wanted != level {
			return false // [MQTT5-4.7.3-4] [MQTT311-4.7.3-4]
		}
		switch {
		case !nameMore:
			return !filterMore || filterRest == "#" // sport/# matches sport, the parent level, too (MQTT 5, 4.7.1.2)
		case !filterMore:
			return false
		}
		filter, name = filterRest, nameRest
	}
}
