package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockmq/penstock/configs"
)

// scriptedChannels say what they were asked, and fail as they are told.
type scriptedChannels struct {
	all   []ChannelStatus
	err   error
	asked []string
}

func (f *scriptedChannels) note(format string, args ...any) error {
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
	return f.err
}

func (f *scriptedChannels) Channels() []ChannelStatus { return slices.Clone(f.all) }
func (f *scriptedChannels) Deferred() int             { return 7 }

func (f *scriptedChannels) Channel(name string) (ChannelDetail, error) {
	return ChannelDetail{ChannelStatus: ChannelStatus{Name: name}}, f.note("channel %s", name)
}

func (f *scriptedChannels) Create(_ context.Context, name string, settings []byte) error {
	return f.note("create %s %s", name, settings)
}

func (f *scriptedChannels) Delete(_ context.Context, name string) error {
	return f.note("delete %s", name)
}
func (f *scriptedChannels) Pause(_ context.Context, name string) error {
	return f.note("pause %s", name)
}
func (f *scriptedChannels) Resume(_ context.Context, name string) error {
	return f.note("resume %s", name)
}

func (f *scriptedChannels) Empty(_ context.Context, name string) (uint64, error) {
	return 3, f.note("empty %s", name)
}

func (f *scriptedChannels) Peek(name string, from uint64, count int) ([]PeekedMessage, error) {
	return []PeekedMessage{{Number: from}}, f.note("peek %s from %d count %d", name, from, count)
}

func (f *scriptedChannels) Requeue(_ context.Context, name string, numbers []uint64) (Requeued, error) {
	return Requeued{Moved: 2, Stay: 1}, f.note("requeue %s %d", name, numbers)
}

func openChannels(t *testing.T, cfg configs.Admin, c Channels) *Server {
	t.Helper()
	s, _ := open(t, cfg, new(fixedSource))
	s.ServeChannels(c)
	return s
}

// askPlain sends one without an Authorization header and returns the answer without line ends and indents.
func askPlain(t *testing.T, s *Server, method, path, body string) (int, string) {
	t.Helper()
	status, answer := ask(t, s, method, path, body, nil)
	return status, strings.Join(strings.Fields(answer), "")
}

// Every request means what it says, and its answer is JSON.
func TestChannelRequests(t *testing.T) {
	for _, c := range []struct{ method, path, body, asked, answer string }{
		{"GET", "/jobs", "", "channel jobs", `"name":"jobs"`},
		{"POST", "/jobs", "filter: a", "create jobs filter: a, channel jobs", `"name":"jobs"`},
		{"DELETE", "/jobs", "", "delete jobs", "{}"},
		{"POST", "/jobs/pause", "", "pause jobs", "{}"},
		{"POST", "/jobs/resume", "", "resume jobs", "{}"},
		{"POST", "/jobs/empty", "", "empty jobs", `{"dropped":3}`},
		{"GET", "/jobs/peek", "", "peek jobs from 0 count 10", `"number":0`},
		{"GET", "/jobs/peek?n=1000&from=5", "", "peek jobs from 5 count 1000", `"number":5`},
		{"POST", "/a%2Fb/requeue", "", "requeue a/b []", `{"moved":2,"stay":1}`},
		{"POST", "/jobs/requeue", "{}", "requeue jobs []", `{"moved":2,"stay":1}`},
		{"POST", "/jobs/requeue", `{"numbers":[4,5]}`, "requeue jobs [4 5]", `{"moved":2,"stay":1}`},
	} {
		f := &scriptedChannels{}
		s := openChannels(t, configs.Admin{}, f)
		status, answer := askPlain(t, s, c.method, ChannelsPath+c.path, c.body)
		if asked := strings.Join(f.asked, ", "); status != http.StatusOK || asked != c.asked || !strings.Contains(answer, c.answer) {
			t.Errorf("%s %s: %d %s; asked %q, want %q", c.method, c.path, status, answer, asked, c.asked)
		}
	}
}

// An error has the status that says whose it is, and names the field that is to blame.
func TestChannelErrors(t *testing.T) {
	for err, want := range map[error]string{
		fmt.Errorf("x: %w", ErrNoChannel): `404 {"error":"x:nosuchchannel"}`,
		fmt.Errorf("x: %w", ErrConflict):  `409 {"error":"x:notpossiblenow"}`,
		ErrOngoing:                        `202 {"error":"itisnotdoneyet,andgoeson"}`,
		&FieldError{Field: "filter", Err: errors.New("expected")}: `400 {"error":"filter:expected","field":"filter"}`,
		&FieldError{Err: errors.New("expected")}:                  `400 {"error":"expected"}`,
		errors.New("disk"):                                        `500 {"error":"disk"}`,
	} {
		s := openChannels(t, configs.Admin{}, &scriptedChannels{err: err})
		for _, path := range []string{"/x", "/x/empty", "/x/requeue", "/x/pause", "/x/resume"} {
			if status, answer := askPlain(t, s, http.MethodPost, ChannelsPath+path, ""); fmt.Sprint(status, " ", answer) != want {
				t.Errorf("%s: got %d %s, want %s", path, status, answer, want)
			}
		}
	}
}

// What cannot be understood reaches no channel.
func TestChannelRequestsThatMakeNoSense(t *testing.T) {
	f := &scriptedChannels{}
	s := openChannels(t, configs.Admin{}, f)
	for _, c := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{"GET", "/x/peek?n=-1", "", 400, `"field":"n"`},
		{"GET", "/x/peek?n=1001", "", 400, `"field":"n"`},
		{"GET", "/x/peek?from=y", "", 400, `"field":"from"`},
		{"POST", "/x/requeue", `{"numbers":["1"]}`, 400, `"field":"numbers"`},
		{"POST", "/x/requeue", `{"numbers":[]}`, 400, `"field":"numbers"`},
		{"POST", "/x/requeue", `{"number":[1]}`, 400, `"field":"numbers"`},
		{"POST", "/x", strings.Repeat("#", channelTextMax+1), 413, `"error":`},
		{"PUT", "/x", "", 405, ""},
		{"POST", "/x/nonsense", "", 404, ""},
	} {
		if status, answer := askPlain(t, s, c.method, ChannelsPath+c.path, c.body); status != c.status || !strings.Contains(answer, c.answer) {
			t.Errorf("%s %s: got %d %s, want %d", c.method, c.path, status, answer, c.status)
		}
	}
	if len(f.asked) > 0 {
		t.Errorf("asked %q", f.asked)
	}
}

// With a token every request about channels needs it.
func TestChannelsAskForTheToken(t *testing.T) {
	f := &scriptedChannels{}
	s := openChannels(t, configs.Admin{Token: "secret"}, f)
	for _, path := range []string{"", "/x", "/x/peek"} {
		if status, _ := get(t, s, ChannelsPath+path, ""); status != http.StatusUnauthorized {
			t.Errorf("%s: got %d", path, status)
		}
		if status, _ := get(t, s, ChannelsPath+path, "Bearer secret"); status != http.StatusOK {
			t.Errorf("%s with the token: got %d", path, status)
		}
	}
	if status, _ := askPlain(t, s, http.MethodPost, ChannelsPath+"/x/empty", ""); status != http.StatusUnauthorized || slices.Contains(f.asked, "empty x") {
		t.Errorf("empty: got %d", status)
	}
}

// Every number of a channel is a metric, counters are named _total, and each has the channel's name.
func TestEveryNumberOfAChannelIsScraped(t *testing.T) {
	one := ChannelStatus{Name: "jobs", Paused: true}
	expected := map[float64]string{1: "Paused"}
	fields := reflect.ValueOf(&one).Elem()
	for i := range fields.NumField() {
		name, f, value := fields.Type().Field(i).Name, fields.Field(i), 1000+i
		switch {
		case name == "RateIn" || name == "RateOut" || name == "Drain": // Prometheus computes them
			continue
		case f.Type() == reflect.TypeFor[time.Duration]():
			f.SetInt(int64(value) * int64(time.Second))
		case f.CanInt():
			f.SetInt(int64(value))
		case f.CanUint():
			f.SetUint(uint64(value))
		case f.Kind() == reflect.Map:
			one.Dropped = map[string]uint64{"expired": uint64(value)}
		default:
			continue
		}
		expected[float64(value)] = name
	}
	_, body := get(t, openChannels(t, configs.Admin{MaxChannelMetrics: 5}, &scriptedChannels{all: []ChannelStatus{one}}), "/metrics", "")
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, "penstock_channel_") {
			continue
		}
		series, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		var value float64
		if _, err := fmt.Sscan(text, &value); err != nil || !strings.Contains(series, `{channel="jobs"`) || expected[value] == "" {
			t.Errorf("unexpected: %s", line)
		}
		delete(expected, value)
	}
	if len(expected) > 0 {
		t.Errorf("not scraped: %v", expected)
	}
	for _, line := range []string{"penstock_channels 1\n", "penstock_channels_unlisted 0\n", "penstock_deferred_messages 7\n"} {
		if !strings.Contains(body, line) {
			t.Errorf("no %q", line)
		}
	}
}

// However many channels clients make, only so many have metrics: those that exist longest.
func TestChannelMetricsAreBounded(t *testing.T) {
	f := &scriptedChannels{}
	for i := range 5 {
		f.all = append(f.all, ChannelStatus{Name: fmt.Sprint("c", i), Created: time.Unix(int64(100-i), 0)})
	}
	for most, want := range map[int]string{0: "", 2: "c3 c4", 9: "c0 c1 c2 c3 c4"} {
		_, body := get(t, openChannels(t, configs.Admin{MaxChannelMetrics: most}, f), "/metrics", "")
		var listed []string
		for _, s := range f.all {
			if strings.Contains(body, fmt.Sprintf(`{channel=%q}`, s.Name)) {
				listed = append(listed, s.Name)
			}
		}
		if got := strings.Join(listed, " "); got != want || !strings.Contains(body, fmt.Sprintf("penstock_channels_unlisted %d\n", max(0, 5-most))) {
			t.Errorf("%d: got %q, want %q", most, got, want)
		}
	}
}

// The answer about all channels is a list, empty or not.
func TestListOfChannels(t *testing.T) {
	s := openChannels(t, configs.Admin{}, &scriptedChannels{all: []ChannelStatus{{Name: "a", Depth: 3}, {Name: "b"}}})
	_, body := get(t, s, ChannelsPath, "")
	var all []ChannelStatus
	if err := json.Unmarshal([]byte(body), &all); err != nil || len(all) != 2 || all[0].Depth != 3 {
		t.Errorf("got %+v, %v", all, err)
	}
}
