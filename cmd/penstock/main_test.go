package main

import (
	"bytes"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/test/loopback"
)

// command runs a command line and returns its exit code and what it printed.
func command(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// succeed runs a command line that must exit with 0 and returns its output.
func succeed(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	code, out, errs := command(t, stdin, args...)
	if code != exitOK {
		t.Fatalf("%q: exit code %d: %s", args, code, errs)
	}
	return out
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// mistakes are command lines and what is said of them. NOBODY is an address at which nobody listens, PORT its port.
var mistakes = []struct {
	args string
	code int
	want string
}{
	{"nonsense", exitUsage, `unknown command "nonsense" for "penstock"`},
	{"user nonsense", exitUsage, `unknown command "nonsense" for "penstock user"`},
	{"serve extra", exitUsage, `unknown command "extra" for "penstock serve"`},
	{"serve --nope", exitUsage, "unknown flag: --nope"},
	{"serve --config", exitUsage, "flag needs an argument: --config"},
	{"serve --set limits", exitUsage, `--set: expected key=value, got "limits"`},
	{"serve --set limits.max_qoss=1", exitUsage, "--set limits.max_qoss: limits.max_qoss: unknown key; did you mean limits.max_qos?"},
	{"serve --log-level loud", exitUsage, `--log-level: log.level: expected debug, info, warn or error, got "loud"`},
	{"serve --config none.yaml", exitUsage, "none.yaml: expected a readable file: no such file or directory"},
	{"serve --config broken.yaml", exitUsage, "broken.yaml:2: limits.max_qoss: unknown key; did you mean max_qos?"},
	{"serve --config rules.yaml", exitUsage, "ACL file: acl.yaml:2: rules[0].allow: expected publish, subscribe or all"},
	{"config check", exitUsage, "accepts 1 arg(s), received 0"},
	{"config check broken.yaml", exitUsage, "broken.yaml:2: limits.max_qoss: unknown key; did you mean max_qos?"},
	{"config check rules.yaml", exitUsage, "ACL file: acl.yaml:2: rules[0].allow: expected publish, subscribe or all"},
	{"health --config broken.yaml", exitError, "broken.yaml:2: limits.max_qoss"},
	{"health --address NOBODY", exitError, `Get "http://NOBODY/readyz"`},
	{"health --address x", exitError, "address x: missing port in address"},
	{"user ls none", exitError, "open none: no such file or directory"},
	{"user rm none alice", exitError, "lstat none: no such file or directory"},
	{"user add users", exitUsage, "accepts 2 arg(s), received 1"},
	{"user add users alice", exitError, "password is empty"},

	{"channel nonsense", exitUsage, `unknown command "nonsense" for "penstock channel"`},
	{"channel ls --address NOBODY", exitError, `Get "http://NOBODY/api/channels"`},
	{"channel ls --config broken.yaml", exitUsage, "broken.yaml:2: limits.max_qoss: unknown key; did you mean max_qos?"},
	{"channel create", exitUsage, "accepts between 1 and 2 arg(s), received 0"},
	{"channel create a", exitUsage, "create needs either a filter, with --set if need be, or --file"},
	{"channel create a b --file x", exitUsage, "create needs either a filter, with --set if need be, or --file"},
	{"channel create a --file x --set ttl=1s", exitUsage, "create needs either a filter, with --set if need be, or --file"},
	{"channel create a b/#/c", exitUsage, `filter: expected a topic filter such as invoices/#, got "b/#/c"`},
	{"channel create a/b c", exitUsage, `name: expected 1 to 64 of A-Z a-z 0-9 . _ -, got "a/b"`},
	{"channel create a b --set ttl", exitUsage, `--set: expected key=value, got "ttl"`},
	{"channel create a b --set tttl=1s", exitUsage, "--set tttl: unknown key; did you mean ttl?"},
	{"channel create a b --set ttl=soon", exitUsage, "--set ttl: expected a duration from"},
	{"channel create a b --set backoff=2m --set backoff_max=1m", exitUsage, "backoff_max: expected at least backoff, 2m0s, got 1m0s"},
	{"channel requeue a one", exitUsage, `expected numbers of messages, as peek shows them, got "one"`},
	{"channel stat --sort size", exitUsage, `--sort: expected one of depth, in, in-flight, name, oldest, out, got "size"`},
	{"channel stat -i 1ms", exitUsage, "expected an --interval of at least 100ms, and a --count of 0 or more"},
	{"channel stat -n -1", exitUsage, "expected an --interval of at least 100ms, and a --count of 0 or more"},

	{"pub", exitUsage, "pub needs a topic: -t TOPIC"},
	{"pub -t a", exitUsage, "pub needs one of -m TEXT, -f FILE, -n, -s and -l"},
	{"pub -t a -m b -n", exitUsage, "pub needs one of -m TEXT, -f FILE, -n, -s and -l"},
	{"pub -t a -n -q 3", exitUsage, "-q: expected 0, 1 or 2, got 3"},
	{"pub -t a -n -V 4", exitUsage, `-V: expected 31, 311 or 5, got "4"`},
	{"pub -t a -n -c", exitUsage, "a session that is to be found again needs a client identifier"},
	{"pub -t a -n -x 1y", exitUsage, "-x: expected seconds, a duration such as 1h, or never"},
	{"pub -t a -n -x -1s", exitUsage, "-x: expected seconds, a duration such as 1h, or never"},
	{"pub -t a -n -x 60 -V 311", exitUsage, "user properties and session expiry need MQTT 5"},
	{"pub -t a -n --user-property a", exitUsage, `--user-property: expected name=value, got "a"`},
	{"pub -t a -n --connect-property a", exitUsage, `--connect-property: expected name=value, got "a"`},
	{"pub -t a -n --content-type x -V 311 -h 127.0.0.1", exitError, "properties of a message need MQTT 5"},
	{"pub -t a -n --will-qos 1", exitUsage, "a will needs --will-topic"},
	{"pub -t a -n --url http://x", exitUsage, `--url: expected a URL with mqtt, mqtts, ws, wss or unix, got "http://x"`},
	{"pub -t a -n --url mqtt://x --unix s", exitUsage, "--url and --unix exclude each other"},
	{"pub -t a -n --url mqtt://x --insecure", exitUsage, "flags of TLS do not go with mqtt"},
	{"pub -t a -n --cafile none.pem", exitUsage, "open none.pem: no such file or directory"},
	{"pub -t a -f none", exitError, "open none: no such file or directory"},
	{"pub -h", exitUsage, "flag needs an argument: 'h' in -h"},
	{"pub -t a -n -h 127.0.0.1 -p PORT", exitError, "connect to NOBODY: connect: connection refused"},

	{"pub -t a -n --rate 5", exitUsage, "--delimiter, --count and --rate go with -l"},
	{"pub -t a -l --count -1", exitUsage, "--count and --rate: expected more than 0"},
	{`pub -t a -l --delimiter \`, exitUsage, "--delimiter: expected text with"},
	{"pub -t a -n --property message-id=auto -V 311 -h 127.0.0.1", exitError, "a message-id needs MQTT 5"},
	{"pub -t a -n --reconnect -c -i x", exitError, "to reconnect and to take up a session exclude each other"},

	{"archive", exitUsage, "archive needs a channel or a topic filter: --channel NAME or -t FILTER"},
	{"archive -t a -q 3", exitUsage, "-q: expected 0, 1 or 2, got 3"},
	{"archive -t a --max-in-flight 0", exitUsage, "--max-in-flight: expected 1 to 65535, got 0"},
	{"archive -t a --log-level loud", exitUsage, `--log-level: expected debug, info, warn or error, got "loud"`},
	{"archive -t a --format xml", exitUsage, `--format: expected raw or json, got "xml"`},
	{"archive -t a --rotate-size big", exitUsage, `--rotate-size: expected a number of bytes such as 1MiB or 4096, got "big"`},
	{"archive -t a --gzip --gzip-level 10", exitUsage, "--gzip-level: expected 1 to 9, got 10"},
	{"archive -t a --filename-format <X>", exitUsage, "--filename-format, --datetime-format: unknown <X>; expected <CHANNEL>"},
	{"archive -t a --output-dir broken.yaml/x", exitError, "mkdir broken.yaml/x: not a directory"},
	{"archive -t a -h 127.0.0.1 -p PORT", exitError, "connect to NOBODY: connect: connection refused"},

	{"forward", exitUsage, "forward needs a channel or a topic filter: --channel NAME or -t FILTER"},
	{"forward -t a", exitUsage, "forward needs one of --post URL, --put URL and --get URL"},
	{"forward -t a --post http://x --put http://x", exitUsage, "forward needs one of --post URL, --put URL and --get URL"},
	{"forward -t a --post x", exitUsage, `expected a URL such as https://host/path, got "x"`},
	{"forward -t a --get http://x", exitUsage, `--get: expected %s once in "http://x", for the payload`},
	{"forward -t a --post http://x --mode all", exitUsage, `--mode: expected round-robin or failover, got "all"`},
	{"forward -t a --post http://x --format xml", exitUsage, `--format: expected raw or json, got "xml"`},
	{"forward -t a --post http://x --header x", exitUsage, `--header: expected 'Name: value', got "x"`},
	{"forward -t a --post http://x --sample 2", exitUsage, "--sample: expected 0 to 1, got 2"},
	{"forward -t a --post http://x --http-cafile none.pem", exitUsage, "open none.pem: no such file or directory"},
	{"forward -t a --post http://x -h 127.0.0.1 -p PORT", exitError, "connect to NOBODY: connect: connection refused"},

	{"sub", exitUsage, "sub needs a topic filter: -t FILTER"},
	{"sub -t a -q 3", exitUsage, "-q: expected 0, 1 or 2, got 3"},
	{"sub -t a -F %z", exitUsage, "-F: unknown %z in the format"},
	{"sub -t a -F %t -v", exitUsage, "-F and -v exclude each other"},
	{"sub -t a -W 0", exitUsage, `-W: expected seconds or a duration such as 1m, got "0"`},
	{"sub -t a -W soon", exitUsage, `-W: expected seconds or a duration such as 1m, got "soon"`},
	{"sub -t a -h 127.0.0.1 -p PORT", exitError, "connect to NOBODY: connect: connection refused"},
}

// A mistake is one line on standard error and an exit code that says whose it is.
func TestExitCodes(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "broken.yaml", "limits:\n  max_qoss: 1\n")
	write(t, "rules.yaml", "auth: {acl_file: acl.yaml}\n")
	write(t, "acl.yaml", "rules:\n- {allow: read, filter: a}\n")
	nobody := loopback.FreeAddress(t)
	_, port, err := net.SplitHostPort(nobody)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range mistakes {
		replace := strings.NewReplacer("NOBODY", nobody, "PORT", port)
		args, want := replace.Replace(c.args), "penstock: "+replace.Replace(c.want)
		code, out, errs := command(t, "", strings.Fields(args)...)
		if code != c.code || !strings.HasPrefix(errs, want) || strings.Count(errs, "\n") != 1 || out != "" {
			t.Errorf("%s: exit code %d, %q, %q\nwant %d, %q", args, code, out, errs, c.code, want)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"user"}, {"config"}, {"pub", "--help"}, {"sub", "--help"}, {"archive", "--help"}, {"forward", "--help"}, {"serve", "--help"}, {"channel"}, {"channel", "stat", "--help"}} {
		if out := succeed(t, "", args...); !strings.Contains(out, "Usage:") {
			t.Errorf("%q: got %q", args, out)
		}
	}
}

func TestVersion(t *testing.T) {
	defer func(old string) { version = old }(version)
	version = "v1.2.3"
	if out := succeed(t, "", "version"); !strings.HasPrefix(out, "penstock v1.2.3 go1.") {
		t.Errorf("got %q", out)
	}
	version = ""
	if buildVersion() == "" {
		t.Error("a build without a version has no name")
	}
}

func TestConfigCheck(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "good.yaml", "limits: {max_qos: 1}\n")
	if out := succeed(t, "", "config", "check", "good.yaml"); out != "good.yaml: ok\n" {
		t.Errorf("got %q", out)
	}
}

func TestAccounts(t *testing.T) {
	t.Chdir(t.TempDir())
	succeed(t, "secret\n", "user", "add", "users", "alice", "--group", "ops", "-g", "dev")
	succeed(t, "secret", "user", "add", "users", "bob")
	if out := succeed(t, "", "user", "ls", "users"); out != "alice ops,dev\nbob\n" {
		t.Errorf("got %q", out)
	}
	if code, _, errs := command(t, "x\n", "user", "add", "users", "bob"); code != exitError || errs != "penstock: user \"bob\": user exists\n" {
		t.Errorf("got %d, %q", code, errs)
	}
	before, err := os.ReadFile("users")
	if err != nil {
		t.Fatal(err)
	}
	succeed(t, "other\n", "user", "passwd", "users", "bob")
	if after, err := os.ReadFile("users"); err != nil || bytes.Equal(before, after) {
		t.Errorf("passwd changed nothing, %v", err)
	}
	succeed(t, "", "user", "rm", "users", "alice")
	if out := succeed(t, "", "user", "ls", "users"); out != "bob\n" {
		t.Errorf("got %q", out)
	}
}

func TestReachable(t *testing.T) {
	for address, want := range map[string]string{
		":1": "127.0.0.1:1", "0.0.0.0:1": "127.0.0.1:1", "[::]:1": "[::1]:1", "10.0.0.1:1": "10.0.0.1:1", "host:1": "host:1",
	} {
		if got, err := reachable(address); got != want || err != nil {
			t.Errorf("%s: got %s, %v", address, got, err)
		}
	}
}
