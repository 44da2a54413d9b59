package topic

import "strings"

// sharePrefix starts the filter of a shared subscription [MQTT5-4.8.2-1].
const sharePrefix = "$share/"

// ParseShared takes $share/<group>/<rest> apart. Shared tells that the filter is one
// of a shared subscription, err what is wrong with it as such; rest is still to be
// checked by CheckFilter. Of any other filter, rest is the filter itself.
func ParseShared(filter string) (group, rest string, shared bool, err error) {
	tail, shared := strings.CutPrefix(filter, sharePrefix)
	if !shared {
		return "", filter, false, nil
	}
	group, rest, _ = strings.Cut(tail, "/")
	switch {
	case group == "": // [MQTT5-4.8.2-1]
		err = ErrShareName
	case HasWildcard(group): // [MQTT5-4.8.2-2]
		err = ErrShareName
	case rest == "": // [MQTT5-4.8.2-2]
		err = ErrShareFilter
	}
	return group, rest, true, err
}
