package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstockmq/penstock/admin"
	"github.com/penstockmq/penstock/client"
	"github.com/penstockmq/penstock/configs"
)

// channel runs a command of penstock channel against the broker.
func (s *started) channel(t *testing.T, args ...string) string {
	t.Helper()
	return succeed(t, "", append([]string{"channel", "--address", s.address["admin"]}, args...)...)
}

// channelFails runs one that must fail with 1, and returns what it said without where.
func (s *started) channelFails(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := command(t, "", append([]string{"channel", "--address", s.address["admin"]}, args...)...)
	if code != exitError || out != "" {
		t.Errorf("%q: exit code %d, %q", args, code, out)
	}
	return strings.TrimPrefix(strings.TrimSpace(errs), "penstock: "+s.address["admin"]+" answered ")
}

// stat asks for everything about one channel.
func (s *started) stat(t *testing.T, name string) (d admin.ChannelDetail) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.channel(t, "stat", name, "--json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// work takes count messages of a channel as a member, and ends.
func (s *started) work(t *testing.T, name string, count int) string {
	t.Helper()
	return succeed(t, "", s.at(t, "tcp", "sub", "-t", "$channel/"+name, "-q", "1", "-C", fmt.Sprint(count))...)
}

// waitFor looks at a channel until it is as it should be.
func (s *started) waitFor(t *testing.T, name string, right func(*admin.ChannelDetail) bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(20 * time.Second)
	for {
		d := s.stat(t, name)
		if right(&d) {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s never became what it should be: %+v", name, d)
		}
	}
}

func (s *started) feed(t *testing.T, topic string, lines ...string) {
	t.Helper()
	succeed(t, strings.Join(lines, "\n")+"\n", s.at(t, "tcp", "pub", "-t", topic, "-q", "1", "-l")...)
}

func withColumns(out string, columns ...string) bool {
	expr := strings.Join(columns, " +")
	return regexp.MustCompile(`(?m)^ *` + expr + ` *$`).MatchString(out)
}

// What an operator does with a channel, from its making to its end, with a restart in between.
func TestOperatingAChannel(t *testing.T) {
	t.Chdir(t.TempDir())
	flags := []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin, storeAt("data")}
	s := start(t, source{flags: flags})
	s.channel(t, "create", "billing", "invoices/#", "--set", "max_attempts=1", "--set", "dead_letter=dead/billing")
	s.feed(t, "invoices/1", "one", "two\x1b[2J", "three")
	if out := s.channel(t, "ls"); !withColumns(out, "billing", "invoices/#", "runtime", "no members", "3", "0", "0", "0/0", `\d+s`, "never") ||
		!withColumns(out, `billing\.dead`, "dead/billing", "dead_letter", "no members", "0", "0", "0", "0/0", "-", "-") {
		t.Errorf("got\n%s", out)
	}
	out := s.channel(t, "peek", "billing", "-n", "2")
	if !withColumns(out, "1", "invoices/1", `\d+s`, "0", "0", "waits", "one") || !withColumns(out, "2", "invoices/1", `\d+s`, "0", "0", "waits", `two\\x1b\[2J`) {
		t.Errorf("got\n%s", out)
	}
	var third admin.PeekedMessage
	if err := json.Unmarshal([]byte(s.channel(t, "peek", "billing", "--from", "3", "--json")), &third); err != nil || third.Number != 3 || third.Payload != "three" {
		t.Errorf("got %+v, %v", third, err)
	}
	s.channel(t, "pause", "billing")
	s.stop(t)

	s = start(t, source{flags: flags})
	if d := s.stat(t, "billing"); !d.Paused || d.Depth != 3 {
		t.Errorf("after a restart: got %+v", d)
	}
	s.channel(t, "resume", "billing")
	if out := s.work(t, "billing", 1); out != "one\n" {
		t.Errorf("got %q", out)
	}
	if why := s.channelFails(t, "delete", "billing"); !strings.Contains(why, "billing holds 2 messages: let its members work") {
		t.Errorf("got %q", why)
	}
	if out := s.channel(t, "empty", "billing"); out != "billing: 2 messages dropped\n" {
		t.Errorf("got %q", out)
	}
	s.channel(t, "delete", "billing")
	s.feed(t, "invoices/1", "nobody wants it")
	s.channel(t, "create", "billing", "invoices/#")
	s.feed(t, "invoices/1", "four")
	s.channel(t, "delete", "billing", "--force")
	if out := s.channel(t, "ls"); strings.Count(out, "\n") != 2 || !strings.Contains(out, "billing.dead") {
		t.Errorf("got\n%s", out)
	}
}

// A message that members refuse is put back from the dead letters, and handed out again.
func TestRequeueing(t *testing.T) {
	s := start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin}})
	s.channel(t, "create", "jobs", "jobs/#", "--set", "max_attempts=1", "--set", "dead_letter=dead", "--set", "ack_timeout=10ms")
	s.feed(t, "jobs/a", "one", "two")
	s.stall(t, "jobs", 2)
	s.waitFor(t, "jobs.dead", func(d *admin.ChannelDetail) bool { return d.Queued == 2 })
	out := s.channel(t, "peek", "jobs.dead", "-n", "1")
	if !withColumns(out, "1", "dead", `\d+s`, "0", "0", "dead letter of jobs", "one|two") {
		t.Errorf("got\n%s", out)
	}
	s.channel(t, "pause", "jobs")
	succeed(t, "", s.at(t, "tcp", "pub", "-t", "dead", "-m", "no dead letter", "-q", "1")...)
	if out := s.channel(t, "requeue", "jobs.dead", "2"); out != "jobs.dead: 1 message put back, 0 stay\n" {
		t.Errorf("got %q", out)
	}
	if out := s.channel(t, "requeue", "jobs.dead"); out != "jobs.dead: 1 message put back, 1 stay\n" {
		t.Errorf("got %q", out)
	}
	d := s.stat(t, "jobs")
	if d.Depth != 2 || d.DeadLettered != 2 || d.TimedOut != 2 || d.Failed != 2 {
		t.Errorf("got %+v", d.ChannelStatus)
	}
	if d := s.stat(t, "jobs.dead"); d.Depth != 1 || d.PutBack != 2 {
		t.Errorf("got %+v", d.ChannelStatus)
	}
}

// stall has a member take messages without a word, until they have timed out.
func (s *started) stall(t *testing.T, name string, count int) {
	t.Helper()
	defer s.silent(t, name)()
	s.waitFor(t, name, func(d *admin.ChannelDetail) bool { return d.TimedOut >= uint64(count) })
}

// stat tells who took how much, also while somebody has a message.
func TestMembersAndTheirShare(t *testing.T) {
	s := start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin}})
	s.channel(t, "create", "jobs", "jobs/#")
	s.feed(t, "jobs/a", "1", "2", "3", "4")
	member := func(id string, count int) {
		succeed(t, "", s.at(t, "tcp", "sub", "-t", "$channel/jobs", "-q", "1", "-i", id, "-c", "-C", fmt.Sprint(count))...)
	}
	member("ann", 3)
	member("bob", 1)
	defer s.silent(t, "jobs")()
	s.feed(t, "jobs/a", "5")
	s.waitFor(t, "jobs", func(d *admin.ChannelDetail) bool { return d.InFlight == 1 })
	out := s.channel(t, "stat", "jobs")
	for _, row := range [][]string{
		{"ann", `\$channel/jobs`, "1", "no", "0", `\d+`, "3", `75\.0%`}, {"bob", `\$channel/jobs`, "1", "no", "0", `\d+`, "1", `25\.0%`},
		{"silent", `\$channel/jobs`, "1", "yes", "1", "1", "0", `0\.0%`}, {"in flight", "1"}, {"max_messages", "10000000"}, {"depth", "1 message, 7 B"},
	} {
		if !withColumns(out, row...) {
			t.Errorf("no %q in\n%s", row, out)
		}
	}
	if out := s.channel(t, "peek", "jobs"); !withColumns(out, "5", "jobs/a", `\d+s`, "1", "0", "with silent", "5") {
		t.Errorf("got\n%s", out)
	}
}

// The table of all channels is sorted, comes as often as asked for, and as JSON.
func TestWatchingChannels(t *testing.T) {
	s := start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin}})
	for _, name := range []string{"a", "b", "c"} {
		s.channel(t, "create", name, name)
	}
	s.feed(t, "b", "1", "2")
	s.feed(t, "c", "1")
	names := regexp.MustCompile(`(?m)  ([abc])$`)
	for order, want := range map[string]string{"depth": "b c a", "name": "a b c"} {
		var got []string
		out := s.channel(t, "stat", "--sort", order, "-n", "2", "-i", "100ms")
		for _, m := range names.FindAllStringSubmatch(out, -1) {
			got = append(got, m[1])
		}
		if joined := strings.Join(got, " "); joined != want+" "+want || strings.Count(out, "channels 3, messages 3, in flight 0\n") != 2 {
			t.Errorf("%s: got %s in\n%s", order, joined, out)
		}
	}
	lines := strings.Split(strings.TrimSpace(s.channel(t, "stat", "--json", "-n", "2", "-i", "100ms")), "\n")
	var first admin.ChannelStatus
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || len(lines) != 6 || first.Name != "b" || first.Depth != 2 {
		t.Errorf("got %+v, %v, %d lines", first, err, len(lines))
	}
	if out := s.channel(t, "ls", "--json"); strings.Count(out, "\n") != 3 {
		t.Errorf("got %s", out)
	}
}

// What cannot be done is said in a line.
func TestChannelMistakes(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "p.yaml", "channels:\n- {name: declared, filter: d}\n")
	s := start(t, source{file: "p.yaml", flags: []configs.Flag{
		listenAt("tcp://127.0.0.1:0"), anyAdmin, {Name: "--set", Key: "admin.token", Value: "secret"},
	}})
	if why := s.channelFails(t, "ls"); why != "401 Unauthorized: a bearer token is needed" {
		t.Errorf("got %q", why)
	}
	t.Setenv("PENSTOCK_ADMIN_TOKEN", "secret")
	for args, want := range map[string]string{
		"stat none":                   "404 Not Found: none: there is no such channel",
		"pause none":                  "404 Not Found: none: there is no such channel",
		"resume a/b":                  "404 Not Found: a/b: there is no such channel",
		"empty none":                  "404 Not Found: none: there is no such channel",
		"peek none":                   "404 Not Found: none: there is no such channel",
		"requeue none":                "404 Not Found: none: there is no such channel",
		"delete none":                 "404 Not Found: none: there is no such channel",
		"delete declared":             "409 Conflict: declared: the configuration declares the channel: remove it there first",
		"create declared d":           "409 Conflict: declared: there is a channel of this name",
		"peek declared -n 1001":       `400 Bad Request: n: expected a whole number from 0 to 1000, got "1001"`,
		"create x --file loop.yaml":   "400 Bad Request: dead_letter: expected a topic whose messages do not come back: x -> x",
		"create x --file typo.yaml":   "400 Bad Request: filte: line 2: unknown key; did you mean filter?",
		"create x --file list.yaml":   "400 Bad Request: line 1: expected keys with values, got a list",
		"create x --file auto.yaml":   "400 Bad Request: auto_create: expected in the configuration only",
		"create x --file other.yaml":  `400 Bad Request: name: expected "x", got "y"`,
		"create x --file two.yaml":    "400 Bad Request: expected one channel, got more",
		"create x --file broken.yaml": "400 Bad Request: expected YAML: mapping values are not allowed in this context",
		"create x --file none.yaml":   "penstock: open none.yaml: no such file or directory",
	} {
		write(t, "loop.yaml", "filter: x/#\ndead_letter: x/dead\n")
		write(t, "typo.yaml", "name: x\nfilte: y\n")
		write(t, "list.yaml", "- filter: x\n")
		write(t, "auto.yaml", "filter: x\nauto_create: x*\n")
		write(t, "other.yaml", "{name: y, filter: x}")
		write(t, "two.yaml", "filter: x\n---\nfilter: y\n")
		write(t, "broken.yaml", "a: b: c")
		if got := s.channelFails(t, strings.Fields(args)...); got != want {
			t.Errorf("%s: got %q, want %q", args, got, want)
		}
	}
}

// Without a token only the machine's own programs may change something: no web page may.
func TestNoPageOfTheWebChangesAChannel(t *testing.T) {
	s := start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin}})
	s.channel(t, "create", "jobs", "jobs")
	s.feed(t, "jobs", "1")
	r, err := http.NewRequest(http.MethodPost, "http://"+s.address["admin"]+admin.ChannelsPath+"/jobs/empty", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if d := s.stat(t, "jobs"); answer.StatusCode != http.StatusForbidden || d.Depth != 1 {
		t.Errorf("got %s, %+v", answer.Status, d.ChannelStatus)
	}
}

// Channels of a changed configuration are taken over on SIGHUP: none loses a message.
func TestReloadTakesChannelsOver(t *testing.T) {
	t.Chdir(t.TempDir())
	const before = "channels:\n- {name: old, filter: old/#}\n- {name: kept, filter: kept/#, max_messages: 2}\n"
	write(t, "p.yaml", before)
	s := start(t, source{file: "p.yaml", flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin}})
	s.channel(t, "create", "made", "made/#", "--set", "ack_timeout=1s")
	for _, name := range []string{"old", "kept", "made"} {
		s.feed(t, name+"/a", "1", "2")
	}
	defer s.silent(t, "kept")()
	s.waitFor(t, "kept", func(d *admin.ChannelDetail) bool { return d.InFlight == 2 })

	write(t, "p.yaml", "channels:\n- {name: kept, filter: other/#, max_messages: 5, order: topic, dead_letter: dead}\n"+
		"- {name: made, filter: made/#, ack_timeout: 1m}\n- {name: new, filter: new/#}\n")
	s.signals <- syscall.SIGHUP
	s.line(t, `msg=reloaded changed=channels`)
	s.line(t, `msg="these need a restart" keys=channels.kept.order`)
	for _, name := range []string{"old", "kept", "made", "new", "other"} {
		s.feed(t, name+"/a", "3")
	}
	for name, want := range map[string]struct {
		origin, key, value string
		depth              int
	}{
		"old": {"retired", "filter", "old/#", 2}, "kept": {"config", "max_messages", "5", 3}, "made": {"config", "ack_timeout", "1m0s", 3},
		"new": {"config", "filter", "new/#", 1}, "kept.dead": {"dead_letter", "filter", "dead", 0},
	} {
		d := s.stat(t, name)
		if got := settingText(d.Settings[want.key]); d.Origin != want.origin || d.Depth != want.depth || got != want.value {
			t.Errorf("%s: got %s, %d messages, %s %s; want %+v", name, d.Origin, d.Depth, want.key, got, want)
		}
	}
	if d := s.stat(t, "kept"); d.InFlight != 3 || d.MembersOnline != 1 || d.Settings["order"] != "none" {
		t.Errorf("kept: got %+v", d)
	}
	if out := s.work(t, "old", 2); out != "1\n2\n" {
		t.Errorf("the members of a retired channel get %q", out)
	}

	write(t, "p.yaml", before)
	s.signals <- syscall.SIGHUP
	s.line(t, `msg=reloaded changed=channels`)
	s.feed(t, "old/a", "4")
	if d := s.stat(t, "old"); d.Origin != "config" || d.Depth != 1 {
		t.Errorf("declared again: got %+v", d.ChannelStatus)
	}
	if d := s.stat(t, "new"); d.Origin != "retired" || d.Depth != 1 {
		t.Errorf("declared no longer: got %+v", d.ChannelStatus)
	}
	s.channel(t, "delete", "new", "--force")
}

// What members may have, and which messages are known already, changes while they are there.
func TestReloadChangesWhatIsUnderWay(t *testing.T) {
	t.Chdir(t.TempDir())
	declare := func(more string) { write(t, "p.yaml", "channels:\n- {name: jobs, filter: jobs/#"+more+"}\n") }
	declare(", max_in_flight_per_member: 1")
	s := start(t, source{file: "p.yaml", flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin}})
	defer s.silent(t, "jobs")()
	s.feed(t, "jobs/a", "1", "2", "3")
	s.waitFor(t, "jobs", func(d *admin.ChannelDetail) bool { return d.InFlight == 1 })
	once := s.at(t, "tcp", "pub", "-t", "jobs/a", "-q", "1", "-m", "4", "--user-property", "message-id=x")
	for _, c := range []struct {
		more  string
		depth int // after the same message was published twice
	}{
		{", dedup_window: 1h", 4}, {", dedup_window: 1h, dedup_max: 5", 4}, {"", 6}, {", dedup_window: 1m", 7},
	} {
		declare(c.more)
		s.signals <- syscall.SIGHUP
		s.line(t, "msg=reloaded changed=channels")
		succeed(t, "", once...)
		succeed(t, "", once...)
		s.waitFor(t, "jobs", func(d *admin.ChannelDetail) bool { return d.Depth == c.depth && d.InFlight == c.depth })
	}
}

// A shared subscription belongs to a channel while it has the channel's filter.
func TestReloadMovesTheFilter(t *testing.T) {
	t.Chdir(t.TempDir())
	declare := func(filter string) { write(t, "p.yaml", "channels:\n- {name: jobs, filter: "+filter+"}\n") }
	declare("old")
	s := start(t, source{file: "p.yaml", flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin}})
	for _, filter := range []string{"old", "new"} { // sessions that are away
		succeed(t, "", s.at(t, "tcp", "sub", "-t", "$share/jobs/"+filter, "-q", "1", "-i", filter, "-c", "-E")...)
	}
	for i, filter := range []string{"old", "new", "old"} {
		declare(filter)
		s.signals <- syscall.SIGHUP
		s.line(t, "msg=reloaded")
		d := s.stat(t, "jobs")
		if len(d.Members) != 1 || d.Members[0].Client != filter || d.Filter != filter {
			t.Errorf("%s: got %+v", filter, d)
		}
		s.feed(t, filter, fmt.Sprint(i))
		if out := succeed(t, "", s.at(t, "tcp", "sub", "-t", "$share/jobs/"+filter, "-q", "1", "-i", filter, "-c", "-C", "1")...); out != fmt.Sprintln(i) {
			t.Errorf("%s: got %q", filter, out)
		}
		if d := s.stat(t, "jobs"); d.Acked != uint64(i+1) {
			t.Errorf("%s: not through the channel: %+v", filter, d)
		}
	}
}

// A configuration whose dead messages would come back through a channel that was made at run time changes nothing.
func TestReloadRefusesALoop(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "p.yaml", "channels: []\n")
	s := start(t, source{file: "p.yaml", flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin}})
	s.channel(t, "create", "made", "a", "--set", "dead_letter=b")
	write(t, "p.yaml", "channels:\n- {name: looping, filter: b, dead_letter: a}\n")
	s.signals <- syscall.SIGHUP
	s.line(t, `msg="channels not reloaded" err="channels.looping.dead_letter: expected a topic whose messages do not come back: looping -> made -> looping"`)
	s.line(t, "msg=reloaded")
	if why := s.channelFails(t, "stat", "looping"); !strings.HasPrefix(why, "404") {
		t.Errorf("got %q", why)
	}
}

// silent is a member that takes messages and says nothing of them, until it is let go.
func (s *started) silent(t *testing.T, name string) (letGo func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}, 1), make(chan error, 1)
	o := client.Options{
		Endpoint: client.Endpoint{Scheme: "mqtt", Address: s.address["tcp"]}, Version: client.MQTT5,
		ClientID: "silent", Clean: true, Timeout: 10 * time.Second,
	}
	go func() {
		_, err := client.Subscribe(ctx, o, client.Subscription{
			Filters: []client.Filter{{Filter: "$channel/" + name, QoS: 1}},
			Handle:  func(*client.Message) error { <-ctx.Done(); return ctx.Err() },
			Ready:   func() { ready <- struct{}{} },
		})
		ended <- err
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	return func() {
		cancel()
		<-ended
	}
}
