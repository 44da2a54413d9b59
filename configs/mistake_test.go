package configs

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// mistakes in a file: what is said begins with the line and the key and goes on with what was expected.
var mistakes = []struct{ name, yaml, want string }{
	{"unknown key", "limits:\n  max_qoss: 1\n", `2: limits.max_qoss: unknown key; did you mean max_qos?`},
	{"unknown section", "log: {}\nlimit: {}\n", `2: limit: unknown key; did you mean limits?`},
	{"unknown key like no other", "log:\n  zzzzzzzzz: 1\n", `2: log.zzzzzzzzz: unknown key; expected one of level, format`},
	{"unknown key of a listener", "listeners:\n  - type: tcp\n    adress: ':1883'\n", `3: listeners[0].adress: unknown key; did you mean address?`},
	{"capitals", "Log: {level: info}\n", `1: Log: unknown key; did you mean log?`},
	{"key that is no word", "? [a]\n: 1\n", `1: unknown key; expected one of listeners, auth`},
	{"duplicate key", "log:\n  level: info\n  format: json\n  level: warn\n", `4: log.level: expected each key once, already set in line 2`},
	{"duplicate section", "log: {}\nsys: {}\nlog: {}\n", `3: log: expected each key once, already set in line 1`},
	{"text for a number", "limits:\n  max_qos: two\n", `2: limits.max_qos: expected a whole number from 0 to 2, got the text "two"`},
	{"quoted number", "limits:\n  max_qos: \"2\"\n", `2: limits.max_qos: expected a whole number from 0 to 2, got the text "2"`},
	{"fraction", "limits:\n  receive_maximum: 1.5\n", `2: limits.receive_maximum: expected a whole number from 1 to 65535, got 1.5`},
	{"number for text", "admin:\n  token: 12345\n", `2: admin.token: expected text (in quotes if it looks like something else), got 12345`},
	{"nothing for text", "admin:\n  token:\n", `2: admin.token: expected text (in quotes if it looks like something else), got nothing`},
	{"number for a switch", "auth:\n  hide_reasons: 1\n", `2: auth.hide_reasons: expected true or false, got 1`},
	{"text for a section", "auth: never\n", `1: auth: expected keys with values, got the text "never"`},
	{"list for a section", "\nauth:\n  - never\n", `3: auth: expected keys with values, got a list`},
	{"section for a list", "listeners:\n  tcp: ':1883'\n", `2: listeners: expected a list, got keys with values`},
	{"section for a text", "log:\n  level: {a: b}\n", `2: log.level: expected text (in quotes if it looks like something else), got keys with values`},
	{"text for a listener", "listeners:\n  - tcp\n", `2: listeners[0]: expected keys with values, got the text "tcp"`},
	{"number for an origin", "listeners:\n  - {type: ws, address: ':1', origins: [a, 5]}\n", `2: listeners[0].origins[1]: expected text`},
	{"list as the whole", "- a\n", `1: expected keys with values, got a list`},
	{"duration without a unit", "sys:\n  interval: 30\n", `2: sys.interval: expected a duration from 0s to 24h0m0s, such as 30s or 5m, got "30"`},
	{"duration that is a switch", "sys:\n  interval: false\n", `2: sys.interval: expected a duration such as 30s, got false`},
	{"negative duration", "limits:\n  write_timeout: -1s\n", `2: limits.write_timeout: expected a duration from 10ms to 24h0m0s`},
	{"size with an unknown unit", "limits:\n  max_queue_bytes: 1 elephant\n", `2: limits.max_queue_bytes: expected a size from 1KiB up, such as 64MiB, got "1 elephant"`},
	{"size that is a list", "limits:\n  max_queue_bytes: []\n", `2: limits.max_queue_bytes: expected a size such as 64KiB, got a list`},
	{"packets too small", "limits:\n  max_packet_size: 1000\n", `2: limits.max_packet_size: expected a size from 1KiB to 256MiB, got "1000"`},
	{"packets too large", "limits:\n  max_packet_size: 257MiB\n", `2: limits.max_packet_size: expected a size from 1KiB to 256MiB, got "257MiB"`},
	{"QoS 3", "limits:\n  max_qos: 3\n", `2: limits.max_qos: expected a whole number from 0 to 2, got "3"`},
	{"receive maximum 0", "limits:\n  receive_maximum: 0\n", `2: limits.receive_maximum: expected a whole number from 1 to 65535, got "0"`},
	{"inflight that would repeat identifiers", "limits:\n  max_inflight: 65535\n", `2: limits.max_inflight: expected a whole number from 1 to 65534, got "65535"`},
	{"number beyond its type", "limits:\n  max_keep_alive: 65536\n", `2: limits.max_keep_alive: expected a whole number from 0 to 65535, got "65536"`},
	{"number beyond every type", "limits:\n  max_sessions: 99999999999999999999\n", `2: limits.max_sessions: expected a whole number from 1 up, got 99999999999999999999`},
	{"unknown level", "log:\n  level: loud\n", `2: log.level: expected debug, info, warn or error, got "loud"`},
	{"unknown format", "log:\n  format: xml\n", `2: log.format: expected text or json, got "xml"`},
	{"unknown word for anonymous", "auth:\n  anonymous: sometimes\n", `2: auth.anonymous: expected never, loopback or always, got "sometimes"`},
	{"switch for anonymous", "auth:\n  anonymous: true\n", `2: auth.anonymous: expected text (in quotes if it looks like something else), got true`},
	{"unknown sync mode", "storage:\n  sync: sometimes\n", `2: storage.sync: expected always, interval or never, got "sometimes"`},
	{"admin without a port", "admin:\n  address: localhost\n", `2: admin.address: expected host:port such as 127.0.0.1:1883 or :1883, got "localhost"`},

	{"no listener", "listeners: []\n", `1: listeners: expected at least one listener`},
	{"listener without a type", "listeners:\n  - address: ':1'\n", `2: listeners[0].type: expected tcp, tls, ws, wss or unix, got nothing`},
	{"listener of an unknown type", "listeners:\n  - {address: ':1', type: udp}\n", `2: listeners[0].type: expected tcp, tls, ws, wss or unix, got "udp"`},
	{"listener without an address", "listeners:\n  - type: tcp\n", `2: listeners[0].address: expected host:port such as 127.0.0.1:1883 or :1883, got ""`},
	{"port beyond 65535", "listeners:\n  - type: tcp\n    address: ':65536'\n", `3: listeners[0].address: expected host:port`},
	{"port by name", "listeners:\n  - type: tcp\n    address: ':mqtt'\n", `3: listeners[0].address: expected host:port`},
	{"unix socket without a path", "listeners:\n  - type: unix\n", `2: listeners[0].address: expected the path of a socket, 1 to 103 bytes, got ""`},
	{"unix socket with a long path", "listeners:\n  - type: unix\n    address: " + strings.Repeat("x", 104) + "\n", `3: listeners[0].address: expected the path of a socket`},
	{"proxy protocol", "listeners:\n  - type: tcp\n    address: ':1'\n    proxy_protocol: yes\n", `4: listeners[0].proxy_protocol: expected off, optional or required, got "yes"`},
	{"WebSocket path", "listeners:\n  - type: ws\n    address: ':1'\n    path: mqtt\n", `4: listeners[0].path: expected a path that starts with /, got "mqtt"`},
	{"path for tcp", "listeners:\n  - type: tcp\n    address: ':1'\n    path: /mqtt\n", `4: listeners[0].path: expected only with type ws or wss, this listener has type tcp`},
	{"certificate for tcp", "listeners:\n  - type: tcp\n    address: ':1'\n    cert: certs/server.pem\n", `4: listeners[0].cert: expected only with type tls or wss, this listener has type tcp`},
	{"two of one name", "listeners:\n  - {name: a, type: tcp, address: ':1'}\n  - {name: a, type: tcp, address: ':2'}\n", `3: listeners[1].name: expected a name of its own, "a" is that of listeners[0]`},
	{"two of one address", "listeners:\n  - {type: tcp, address: ':1'}\n  - type: ws\n    address: '0.0.0.0:1'\n", `4: listeners[1].address: expected an address of its own, 0.0.0.0:1 is that of listeners[0]`},
	{"two of one socket", "listeners:\n  - {type: unix, address: s}\n  - {type: unix, address: s}\n", `3: listeners[1].address: expected an address of its own, s is that of listeners[0]`},
	{"admin on a listener", "listeners:\n  - {type: tcp, address: ':1'}\nadmin:\n  address: ':1'\n", `4: admin.address: expected an address of its own, :1 is that of listeners[0]`},

	{"tls without a certificate", "listeners:\n  - type: tls\n    address: ':1'\n", `2: listeners[0].cert: expected the PEM file of the certificate chain: type tls needs one`},
	{"wss without a key", "listeners:\n  - type: wss\n    address: ':1'\n    cert: certs/server.pem\n", `2: listeners[0].key: expected the PEM file of the private key: type wss needs one`},
	{"certificate that is not there", "listeners:\n  - type: tls\n    address: ':1'\n    cert: none.pem\n    key: none.key\n", `4: listeners[0].cert: expected the PEM file of the certificate chain: none.pem: no such file`},
	{"key of another certificate", "listeners:\n  - type: tls\n    address: ':1'\n    cert: certs/server.pem\n    key: certs/other.key\n", `4: listeners[0].cert: expected a certificate with its key: certs/server.pem, certs/other.key: tls: private key does not match`},
	{"authorities that are not there", "listeners:\n  - type: tls\n    address: ':1'\n    cert: certs/server.pem\n    key: certs/server.key\n    client_ca: none.pem\n", `6: listeners[0].client_ca: expected a PEM file of certificates: none.pem: no such file`},
	{"authorities without a certificate", "listeners:\n  - type: tls\n    address: ':1'\n    cert: certs/server.pem\n    key: certs/server.key\n    client_ca: certs/server.key\n", `6: listeners[0].client_ca: expected a PEM file of certificates: certs/server.key holds none`},
	{"username without authorities", "listeners:\n  - type: tls\n    address: ':1'\n    cert: certs/server.pem\n    key: certs/server.key\n    username_from_cert: true\n", `6: listeners[0].username_from_cert: expected client_ca with it`},
	{"accounts that are not there", "auth:\n  password_file: nobody\n", `2: auth.password_file: expected a readable file: nobody: no such file`},
	{"rules that are not there", "auth:\n  acl_file: none.yaml\n", `2: auth.acl_file: expected a readable file: none.yaml: no such file`},

	{"channel without a name", "channels:\n  - filter: a\n", `2: channels[0].name: expected 1 to 64 of A-Z a-z 0-9 . _ -, got ""`},
	{"channel with a wildcard in its name", "channels:\n  - filter: a\n    name: 'a/#'\n", `3: channels[0].name: expected 1 to 64 of A-Z a-z 0-9 . _ -, got "a/#"`},
	{"channel with a long name", "channels:\n  - {filter: a, name: " + strings.Repeat("x", 65) + "}\n", `2: channels[0].name: expected 1 to 64`},
	{"channel without a filter", "channels:\n  - name: a\n", `2: channels[0].filter: expected a topic filter such as invoices/#, got nothing`},
	{"channel with a malformed filter", "channels:\n  - name: a\n    filter: a/#/b\n", `3: channels[0].filter: expected a topic filter such as invoices/#, got "a/#/b": `},
	{"channel of the broker's topics", "channels:\n  - name: a\n    filter: $SYS/#\n", `3: channels[0].filter: expected a topic filter that does not begin with $`},
	{"channels of one name", "channels:\n  - {name: a, filter: a}\n  - {name: a, filter: b}\n", `3: channels[1].name: expected a name of its own, "a" is that of channels[0]`},
	{"channel with a name and a pattern", "channels:\n  - {name: a, auto_create: b, filter: a}\n", `2: channels[0].name: expected either name or auto_create`},
	{"channel with a malformed pattern", "channels:\n  - {auto_create: 'a/*'}\n", `2: channels[0].auto_create: expected a pattern of names such as jobs-*, got "a/*"`},
	{"channel with an unknown key", "channels:\n  - name: a\n    fliter: b\n", `3: channels[0].fliter: unknown key; did you mean filter?`},
	{"no time to acknowledge", "channels:\n  - name: a\n    filter: a\n    ack_timeout: 0s\n", `4: channels[0].ack_timeout: expected a duration from 10ms to 168h0m0s, such as 30s or 5m, got "0s"`},
	{"no member's share", "channels:\n  - name: a\n    filter: a\n    max_in_flight_per_member: 0\n", `4: channels[0].max_in_flight_per_member: expected a whole number from 1 to 65535, got "0"`},
	{"backoff beyond its maximum", "channels:\n  - name: a\n    filter: a\n    backoff: 2m\n    backoff_max: 1m\n", `5: channels[0].backoff_max: expected at least backoff, 2m0s, got 1m0s`},
	{"dead letter that is a filter", "channels:\n  - name: a\n    filter: a\n    dead_letter: dead/#\n", `4: channels[0].dead_letter: expected a topic name such as dead/invoices, got "dead/#": `},
	{"dead letter of the broker's", "channels:\n  - name: a\n    filter: a\n    dead_letter: $dead\n", `4: channels[0].dead_letter: expected a topic name that does not begin with $, got "$dead"`},
	{"dead letter that comes back", "channels:\n  - name: a\n    filter: a/#\n    dead_letter: a/dead\n", `4: channels[0].dead_letter: expected a topic whose messages do not come back: a -> a`},
	{"dead letters in a circle", "channels:\n  - {name: a, filter: x, dead_letter: y}\n  - {name: b, filter: y, dead_letter: z}\n  - {name: c, filter: +, dead_letter: a/b}\n  - {name: d, filter: a/+, dead_letter: x}\n", `2: channels[0].dead_letter: expected a topic whose messages do not come back: a -> b -> c -> d -> a`},
	{"dead letters kept elsewhere", "channels:\n  - {name: a, filter: a, dead_letter: dead}\n  - {name: a.dead, filter: other}\n", `3: channels[1].filter: expected one that dead matches: a.dead is where the dead messages of a are kept`},
	{"share without a percent sign", "channels:\n  - name: a\n    filter: a\n    sample: '10'\n", `4: channels[0].sample: expected a share of the messages from above 0% to 100%, such as 10%, got "10"`},
	{"share of nothing", "channels:\n  - name: a\n    filter: a\n    sample: 0%\n", `4: channels[0].sample: expected a share of the messages from above 0% to 100%, such as 10%, got "0%"`},
	{"unknown word for a full channel", "channels:\n  - name: a\n    filter: a\n    on_full: explode\n", `4: channels[0].on_full: expected reject, block or drop_oldest, got "explode"`},
	{"bridge without a name", "bridges:\n  - address: 'tcp://h'\n", `2: bridges[0].name: expected 1 to 64 letters, digits and - _ . , got ""`},
	{"bridge with a name for two levels", "bridges:\n  - name: a/b\n", `2: bridges[0].name: expected 1 to 64 letters`},
	{"two bridges of one name", "bridges:\n  - {name: a, address: 'tcp://h', topics: [{filter: x}]}\n  - {name: a, address: 'tcp://i', topics: [{filter: x}]}\n", `3: bridges[1].name: expected a name of its own, "a" is that of bridges[0]`},
	{"bridge without an address", "bridges:\n  - name: a\n", `2: bridges[0].address: expected either address or addresses`},
	{"bridge with address and addresses", "bridges:\n  - name: a\n    address: tcp://h\n    addresses: ['tcp://i']\n", `3: bridges[0].address: expected either address or addresses`},
	{"bridge to a web page", "bridges:\n  - name: a\n    address: https://h\n", `3: bridges[0].address: expected a URL such as tls://hub.example:8883, with tcp, mqtt, tls, mqtts, ws, wss, unix, srv or srvs, got "https://h"`},
	{"bridge to the broker itself", "listeners: [{type: tcp, address: ':1884'}]\nbridges:\n  - name: a\n    address: tcp://127.0.0.1:1884\n    topics: [{filter: x}]\n", `4: bridges[0].address: expected another broker: tcp://127.0.0.1:1884 is listeners[0] of this one`},
	{"bridge with a password in the address", "bridges:\n  - name: a\n    address: tcp://u:p@h\n", `3: bridges[0].address: expected a URL without user and password`},
	{"bridge with an address twice", "bridges:\n  - name: a\n    addresses:\n      - tcp://h\n      - tcp://h\n", `5: bridges[0].addresses[1]: expected each address once`},
	{"bridge in an unknown version", "bridges:\n  - name: a\n    version: '4'\n", `3: bridges[0].version: expected auto, 5 or 3.1.1, got "4"`},
	{"version that is a number", "bridges:\n  - name: a\n    version: 5\n", `3: bridges[0].version: expected text (in quotes if it looks like something else), got 5`},
	{"keep alive of half a second", "bridges:\n  - name: a\n    address: tcp://h\n    keep_alive: 500ms\n", `4: bridges[0].keep_alive: expected whole seconds, got 500ms`},
	{"retries that shrink", "bridges:\n  - name: a\n    address: tcp://h\n    retry_min: 1m\n    retry_max: 1s\n", `5: bridges[0].retry_max: expected no less than retry_min, which is 1m0s, got 1s`},
	{"two passwords", "bridges:\n  - name: a\n    address: tcp://h\n    username: u\n    password: p\n    password_env: HOME\n", `5: bridges[0].password: expected only one of password, password_env and password_file`},
	{"password without a username", "bridges:\n  - name: a\n    address: tcp://h\n    password: p\n", `4: bridges[0].password: expected a username with it`},
	{"authorities of a bridge that are not there", "bridges:\n  - name: a\n    address: tls://h\n    ca: none.pem\n", `4: bridges[0].ca: expected a readable PEM file: none.pem: no such file`},
	{"certificate of a bridge without its key", "bridges:\n  - name: a\n    address: tls://h\n    cert: certs/server.pem\n", `4: bridges[0].cert: expected cert and key together`},
	{"bridge without topics", "bridges:\n  - name: a\n    address: tcp://h\n", `2: bridges[0].topics: expected at least one topic rule`},
	{"rule without a filter", "bridges:\n  - name: a\n    address: tcp://h\n    topics:\n      - direction: in\n", `5: bridges[0].topics[0].filter: expected a topic filter, got nothing`},
	{"rule with a broken filter", "bridges:\n  - name: a\n    address: tcp://h\n    topics:\n      - filter: 'a/#/b'\n", `5: bridges[0].topics[0].filter: expected a topic filter: `},
	{"rule with a wildcard in a prefix", "bridges:\n  - name: a\n    address: tcp://h\n    topics:\n      - filter: a\n        remote_prefix: '+/'\n", `6: bridges[0].topics[0].remote_prefix: expected a prefix without wildcards`},
	{"unknown placeholder", "bridges:\n  - name: a\n    address: tcp://h\n    topics:\n      - filter: a\n        remote_prefix: '{site}/'\n", `6: bridges[0].topics[0].remote_prefix: expected a prefix without wildcards, with {client}, {bridge} or {host}, got "{site}/"`},
	{"publisher of what comes in", "bridges:\n  - name: a\n    address: tcp://h\n    topics:\n      - filter: a\n        direction: in\n        remote_prefix: '{publisher}/'\n", `7: bridges[0].topics[0].remote_prefix: expected {publisher} in remote_prefix with direction out only`},
	{"rule that writes to $SYS", "bridges:\n  - name: a\n    address: tcp://h\n    topics:\n      - filter: '$SYS/#'\n        direction: in\n", `5: bridges[0].topics[0].filter: expected topics that clients may publish to, got "$SYS/#"`},
	{"lazy bridge that should receive", "bridges:\n  - name: a\n    address: tcp://h\n    start: lazy\n    topics: [{filter: x, direction: both}]\n", `4: bridges[0].start: expected automatic: topics[0] brings messages here`},
	{"QoS 3 of a rule", "bridges:\n  - name: a\n    topics:\n      - filter: a\n        qos: 3\n", `5: bridges[0].topics[0].qos: expected a whole number from 0 to 2, got "3"`},
	{"misspelt key of a rule", "bridges:\n  - name: a\n    topics:\n      - filtr: a\n", `4: bridges[0].topics[0].filtr: unknown key; did you mean filter?`},

	{"no YAML", "log:\n  level: [info\nsys: {}\n", `1: expected YAML: did not find expected ',' or ']'`},
	{"tabs", "log:\n\tlevel: info\n", `2: expected YAML: `},
	{"second document", "log: {}\n---\nlog: {}\n", `2: expected the end of the file, got a second document`},
	{"merge key", "a: &a {level: info}\n", `1: a: unknown key`},
	{"the first of two", "log:\n  level: loud\n  format: xml\n", `2: log.level: expected debug`},
}

// A mistake is one error that names file, line, key and what was expected.
func TestMistakesInAFile(t *testing.T) {
	t.Chdir(t.TempDir())
	makeCertificates(t, "certs")
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			if err := os.WriteFile("c.yaml", []byte(m.yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			checkMistake(t, Check("c.yaml"), "c.yaml:"+m.want)
		})
	}
}

func checkMistake(t *testing.T, err error, want string) {
	t.Helper()
	var mistake *Error
	if !errors.As(err, &mistake) {
		t.Fatalf("got %v, want an *Error", err)
	}
	if got := err.Error(); !strings.HasPrefix(got, want) || strings.Contains(got, "\n") {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
}

func TestMistakesWithoutALine(t *testing.T) {
	t.Chdir(t.TempDir())
	checkMistake(t, Check("none.yaml"), "none.yaml: expected a readable file: no such file")
	checkMistake(t, Check("."), ".: expected a readable file: is a directory")
	if err := os.WriteFile("c.yaml", []byte("log:\n  level: \x00\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	checkMistake(t, Check("c.yaml"), "c.yaml: expected YAML: control characters are not allowed")
}

// The same mistakes in an environment variable name the variable.
func TestMistakesInTheEnvironment(t *testing.T) {
	for _, m := range []struct{ name, value, want string }{
		{"PENSTOCK_LIMITS_MAX_QOS", "3", `PENSTOCK_LIMITS_MAX_QOS: limits.max_qos: expected a whole number from 0 to 2, got "3"`},
		{"PENSTOCK_LIMITS_MAX_QOS", "", `PENSTOCK_LIMITS_MAX_QOS: limits.max_qos: expected a whole number from 0 to 2, got ""`},
		{"PENSTOCK_LIMITS_MAX_PACKET_SIZE", "1XB", `PENSTOCK_LIMITS_MAX_PACKET_SIZE: limits.max_packet_size: expected a size from 1KiB to 256MiB, got "1XB"`},
		{"PENSTOCK_SYS_INTERVAL", "often", `PENSTOCK_SYS_INTERVAL: sys.interval: expected a duration from 0s to 24h0m0s, such as 30s or 5m, got "often"`},
		{"PENSTOCK_AUTH_HIDE_REASONS", "maybe", `PENSTOCK_AUTH_HIDE_REASONS: auth.hide_reasons: expected true or false, got "maybe"`},
		{"PENSTOCK_LOG_LEVEL", "loud", `PENSTOCK_LOG_LEVEL: log.level: expected debug, info, warn or error, got "loud"`},
		{"PENSTOCK_AUTH_PASSWORD_FILE", "/none/users", `PENSTOCK_AUTH_PASSWORD_FILE: auth.password_file: expected a readable file`},
		{"PENSTOCK_LIMITS_MAX_QOSS", "1", `PENSTOCK_LIMITS_MAX_QOSS: unknown variable; did you mean PENSTOCK_LIMITS_MAX_QOS?`},
		{"PENSTOCK_AUTH_ZZZZZZZZZZZZZZZZZ", "1", `PENSTOCK_AUTH_ZZZZZZZZZZZZZZZZZ: unknown variable; expected PENSTOCK_ and a key`},
		{"PENSTOCK_CHANNELS", "a", `PENSTOCK_CHANNELS: channels: expected in the file: a list has no other form`},
		{"PENSTOCK_BRIDGES", "hub", `PENSTOCK_BRIDGES: bridges: expected bridges in the file only`},
		{"PENSTOCK_LISTENERS", "", `PENSTOCK_LISTENERS: listeners: expected a URL such as tcp://127.0.0.1:1883, got ""`},
		{"PENSTOCK_LISTENERS", "udp://:1", `PENSTOCK_LISTENERS: listeners: expected tcp, tls, ws, wss or unix, got "udp" in "udp://:1"`},
		{"PENSTOCK_LISTENERS", "tcp://:1?cret=a", `PENSTOCK_LISTENERS: listeners: cret in "tcp://:1?cret=a": unknown key; did you mean cert?`},
		{"PENSTOCK_LISTENERS", "tls://:1?username_from_cert=5x", `PENSTOCK_LISTENERS: listeners: username_from_cert in "tls://:1?username_from_cert=5x": expected true or false, got "5x"`},
		{"PENSTOCK_LISTENERS", "tcp://:1,tls://:2", `PENSTOCK_LISTENERS: listeners[1].cert: expected the PEM file of the certificate chain`},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Setenv(m.name, m.value)
			_, err := Load("", nil)
			checkMistake(t, err, m.want)
		})
	}
}

func TestMistakesInAFlagNameTheFlag(t *testing.T) {
	for _, m := range []struct {
		flag Flag
		want string
	}{
		{Flag{"--log-level", "log.level", "loud"}, `--log-level: log.level: expected debug, info, warn or error, got "loud"`},
		{Flag{"--listen", "listeners", "localhost:1883"}, `--listen: listeners: expected tcp, tls, ws, wss or unix, got "localhost"`},
		{Flag{"--listen", "listeners", "tcp://:1,tcp://:1"}, `--listen: listeners[1].address: expected an address of its own`},
		{Flag{"--set", "limits.max_qoss", "1"}, `--set: limits.max_qoss: unknown key; did you mean limits.max_qos?`},
	} {
		_, err := Load("penstock.yaml", []Flag{m.flag})
		checkMistake(t, err, m.want)
	}
}

// An environment variable cures the same key in the file only as far as its value goes: the file must be right by itself.
func TestAFileMustBeRightByItself(t *testing.T) {
	path := write(t, "log: {level: loud}\n")
	t.Setenv("PENSTOCK_LOG_LEVEL", "info")
	_, err := Load(path, nil)
	checkMistake(t, err, path+":1: log.level: expected debug")
}

func FuzzLoad(f *testing.F) {
	for _, m := range mistakes {
		f.Add([]byte(m.yaml))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := readDocument("c.yaml", text)
		if err == nil && d == nil {
			t.Fatal("neither a document nor an error")
		}
		var mistake *Error
		if err != nil && !errors.As(err, &mistake) {
			t.Fatalf("got %v, want an *Error", err)
		}
	})
}
