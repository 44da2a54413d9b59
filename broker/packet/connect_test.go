package packet

import "testing"

// A refused CONNECT comes with the version in which the client reads the refusal, as far as there is one.
func TestConnectVersionOfRefusal(t *testing.T) {
	cases := []struct {
		name, body string
		want       Version // 0: nothing to answer
	}{
		{"nothing", ``, 0},
		{"another protocol", `"GET" 20 "/" 20 "HTTP/1.1"`, 0},
		{"unknown name", `s:MQTU 05 02 000a 00 s:c`, 0},
		{"level missing", `s:MQTT`, 0},
		{"[MQTT311-3.1.2-2] level 2", `s:MQTT 02 02 000a s:c`, V311},
		{"[MQTT311-3.1.2-2] level 6", `s:MQTT 06 02 000a s:c`, V311},
		{"[MQTT311-3.1.2-2] bridge bit with MQTT 5", `s:MQTT 85 02 000a s:c`, V311},
		{"MQIsdp level 4", `s:MQIsdp 04 02 000a s:c`, V31},
		{"flags", `s:MQTT 05 03 000a 00 s:c`, V5},
		{"cut short", `s:MQTT 05`, V5},
		{"cut short", `s:MQTT 04 02 000a`, V311},
		{"will topic", `s:MQTT 05 06 000a 00 s:c 00 s:# s:p`, V5},
	}
	for _, c := range cases {
		got, err := DecodeConnect(wire(c.body), Limits{})
		switch {
		case err == nil:
			t.Errorf("%s: accepted", c.name)
		case c.want == 0 && got != nil:
			t.Errorf("%s: version %v", c.name, got.Version)
		case c.want != 0 && (got == nil || got.Version != c.want):
			t.Errorf("%s: %+v, want version %v", c.name, got, c.want)
		}
	}
}

func TestConnectDefaults(t *testing.T) {
	c, err := DecodeConnect(wire(`s:MQTT 05 00 0000 00 0000`), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "MQTT 5", *c, Connect{ProtocolName: "MQTT", Version: V5, ReceiveMaximum: 65535, RequestProblemInfo: true})
}

// The bit by which mosquitto's bridges say what they are is a remark, not another version.
func TestConnectOfABridge(t *testing.T) {
	for body, want := range map[string]Version{`s:MQTT 84 02 000a s:c`: V311, `s:MQIsdp 83 02 000a s:c`: V31} {
		c, err := DecodeConnect(wire(body), Limits{})
		if err != nil || !c.Bridge || c.Version != want {
			t.Errorf("%s: %+v, %v", body, c, err)
		}
	}
	if c, err := DecodeConnect(wire(`s:MQTT 04 02 000a s:c`), Limits{}); err != nil || c.Bridge {
		t.Errorf("without it: %+v, %v", c, err)
	}
}

// In MQTT 3.1 a user name that is announced but missing was not sent.
func TestConnectMissingCredentials(t *testing.T) {
	c, err := DecodeConnect(wire(`s:MQIsdp 03 c2 000a s:c s:u`), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if !c.HasUsername || c.Username != "u" || c.HasPassword {
		t.Errorf("%+v", c)
	}
}
