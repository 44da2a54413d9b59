package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/penstockmq/penstock/configs"
)

// fixedBridges are one bridge, and note what they are told.
type fixedBridges struct {
	status BridgeStatus
	told   []string
}

func (f *fixedBridges) Bridges() []BridgeStatus { return []BridgeStatus{f.status} }
func (f *fixedBridges) Dropped() map[string]uint64 {
	return map[string]uint64{"loop": 3, "duplicate": 4}
}
func (f *fixedBridges) Pause(name string) error      { return f.tell("pause", name) }
func (f *fixedBridges) Resume(name string) error     { return f.tell("resume", name) }
func (f *fixedBridges) Delete(name string) error     { return f.tell("delete", name) }
func (f *fixedBridges) Put(n string, b []byte) error { return f.tell("put "+string(b), n) }

func (f *fixedBridges) tell(what, name string) error {
	f.told = append(f.told, what+" "+name)
	switch name {
	case "unknown":
		return fmt.Errorf("%w: unknown", ErrNoBridge)
	case "bad":
		return fmt.Errorf("%w: bad", ErrBadBridge)
	case "broken":
		return errors.New("the store failed")
	}
	return nil
}

// Bridges are listed, shown, paused, resumed, made and removed; whose mistake something is, the status says.
func TestBridgesOverHTTP(t *testing.T) {
	s, _ := open(t, configs.Admin{}, &fixedSource{})
	f := &fixedBridges{status: BridgeStatus{
		Name: "hub", State: "connected", Since: time.Unix(1, 0).UTC(), QueueAge: time.Second, Refused: []string{"x"}, Dropped: map[string]uint64{"expired": 2},
	}}
	s.ServeBridges(f)
	for path, want := range map[string]any{BridgesPath: []BridgeStatus{f.status}, BridgesPath + "/hub": f.status} {
		status, body := get(t, s, path, "")
		got := reflect.New(reflect.TypeOf(want))
		if err := json.Unmarshal([]byte(body), got.Interface()); status != http.StatusOK || err != nil || !reflect.DeepEqual(got.Elem().Interface(), want) {
			t.Errorf("%s: %d %s, %v", path, status, body, err)
		}
	}
	if status, _ := get(t, s, BridgesPath+"/none", ""); status != http.StatusNotFound {
		t.Errorf("a bridge that is not there: %d", status)
	}
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{http.MethodPost, "/hub/pause", 200}, {http.MethodPost, "/hub/resume", 200}, {http.MethodDelete, "/hub", 200}, {http.MethodPut, "/hub", 200},
		{http.MethodPost, "/unknown/pause", 404}, {http.MethodDelete, "/bad", 400}, {http.MethodPost, "/broken/resume", 500},
	} {
		if status, body := ask(t, s, c.method, BridgesPath+c.path, "text", nil); status != c.want {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, body)
		}
	}
	want := []string{"pause hub", "resume hub", "delete hub", "put text hub", "pause unknown", "delete bad", "resume broken"}
	if !reflect.DeepEqual(f.told, want) {
		t.Errorf("told %q", f.told)
	}
	if status, _ := ask(t, s, http.MethodPut, BridgesPath+"/hub", strings.Repeat("x", bridgeTextMax+1), nil); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large text: %d", status)
	}
}

// A web page of somebody else cannot pause a bridge, and without the token nobody can.
func TestBridgesAreGuarded(t *testing.T) {
	s, _ := open(t, configs.Admin{}, &fixedSource{})
	f := &fixedBridges{}
	s.ServeBridges(f)
	if status, _ := ask(t, s, http.MethodPost, BridgesPath+"/hub/pause", "", map[string]string{"Sec-Fetch-Site": "cross-site"}); status != http.StatusForbidden {
		t.Errorf("from another site: %d", status)
	}
	locked, _ := open(t, configs.Admin{Token: "secret"}, &fixedSource{})
	locked.ServeBridges(f)
	if status, _ := ask(t, locked, http.MethodPost, BridgesPath+"/hub/pause", "", nil); status != http.StatusUnauthorized {
		t.Errorf("without the token: %d", status)
	}
	if status, _ := ask(t, locked, http.MethodPost, BridgesPath+"/hub/pause", "", map[string]string{"Authorization": "Bearer secret"}); status != http.StatusOK {
		t.Errorf("with the token: %d", status)
	}
	if len(f.told) != 1 {
		t.Errorf("told %q", f.told)
	}
}

// Every figure is a metric with the bridge's name.
func TestBridgesAreScraped(t *testing.T) {
	s, _ := open(t, configs.Admin{}, &fixedSource{})
	s.ServeBridges(&fixedBridges{status: BridgeStatus{
		Name: "hub", State: "connected", QueueMessages: 1, QueueBytes: 2, QueueAge: 3 * time.Second, Inflight: 4, Sent: 5, Received: 6,
		SentBytes: 7, ReceivedBytes: 8, Resent: 9, Connects: 10, RoundTrip: 11 * time.Second, Dropped: map[string]uint64{"expired": 12},
	}})
	_, body := get(t, s, "/metrics", "")
	for _, line := range []string{
		`connected{bridge="hub"} 1`, `queue_messages{bridge="hub"} 1`, `queue_bytes{bridge="hub"} 2`, `queue_age_seconds{bridge="hub"} 3`,
		`inflight_messages{bridge="hub"} 4`, `messages_sent_total{bridge="hub"} 5`, `messages_received_total{bridge="hub"} 6`,
		`bytes_sent_total{bridge="hub"} 7`, `bytes_received_total{bridge="hub"} 8`, `messages_resent_total{bridge="hub"} 9`,
		`connects_total{bridge="hub"} 10`, `round_trip_seconds{bridge="hub"} 11`, `messages_dropped_total{bridge="hub",reason="expired"} 12`,
		`peer_messages_dropped_total{reason="loop"} 3`, `peer_messages_dropped_total{reason="duplicate"} 4`,
	} {
		if !strings.Contains(body, "\npenstock_bridge_"+line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
}
