package topic

import "testing"

func TestParseShared(t *testing.T) {
	tests := []struct {
		promise, filter, group, rest string
		shared                       bool
		err                          error
	}{
		{"an ordinary filter is itself", "a/+/#", "", "a/+/#", false, nil},
		{"share name and filter [MQTT5-4.8.2-1]", "$share/consumer1/sport/tennis/+", "consumer1", "sport/tennis/+", true, nil},
		{"the filter may start with / [MQTT5-4.8.2-2]", "$share/g//finance", "g", "/finance", true, nil},
		{"the filter may be / [MQTT5-4.8.2-2]", "$share/g//", "g", "/", true, nil},
		{"the filter may be # [MQTT5-4.8.2-2]", "$share/g/#", "g", "#", true, nil},
		{"a share name of one character [MQTT5-4.8.2-1]", "$share/x/a", "x", "a", true, nil},
		{"no share name [MQTT5-4.8.2-1]", "$share//a", "", "a", true, ErrShareName},
		{"nothing after $share/ [MQTT5-4.8.2-1]", "$share/", "", "", true, ErrShareName},
		{"+ in the share name [MQTT5-4.8.2-2]", "$share/a+/b", "a+", "b", true, ErrShareName},
		{"# in the share name [MQTT5-4.8.2-2]", "$share/#/b", "#", "b", true, ErrShareName},
		{"no / after the share name [MQTT5-4.8.2-2]", "$share/g", "g", "", true, ErrShareFilter},
		{"no filter after the share name [MQTT5-4.8.2-2]", "$share/g/", "g", "", true, ErrShareFilter},
		{"$share alone does not start with $share/ [MQTT5-4.8.2-1]", "$share", "", "$share", false, nil},
		{"$shared is another topic [MQTT5-4.8.2-1]", "$shared/g/a", "", "$shared/g/a", false, nil},
		{"case counts [MQTT5-4.7.3-4]", "$SHARE/g/a", "", "$SHARE/g/a", false, nil},
	}
	for _, test := range tests {
		t.Run(test.promise, func(t *testing.T) {
			group, rest, shared, err := ParseShared(test.filter)
			if group != test.group || rest != test.rest || shared != test.shared || err != test.err {
				t.Errorf("ParseShared(%q) = %q, %q, %v, %v", test.filter, group, rest, shared, err)
			}
		})
	}
}
