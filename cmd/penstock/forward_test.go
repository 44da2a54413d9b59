package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/configs"
)

// What an endpoint refuses at first is sent again, and acknowledged when it is taken: the
// session has nothing left afterwards.
func TestForward(t *testing.T) {
	s := start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin}})
	bodies := make(chan string, 10)
	failures := make(chan int, 2)
	failures <- http.StatusServiceUnavailable
	failures <- http.StatusTooManyRequests
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		select {
		case status := <-failures:
			w.WriteHeader(status)
		default:
			bodies <- r.Header.Get("Mqtt-Topic") + " " + r.Header.Get("X-Key") + " " + string(body)
		}
	}))
	defer endpoint.Close()
	for _, v := range []string{"311", "5"} {
		session := []string{"-t", "a/#", "-c", "-i", "forward", "-V", v}
		succeed(t, "", s.at(t, "tcp", "sub", append(session, "-q", "1", "-E")...)...)
		succeed(t, "one\ntwo\n", s.at(t, "tcp", "pub", "-t", "a/b", "-q", "1", "-l")...)
		ctx, stop := context.WithCancel(t.Context())
		var log strings.Builder
		code := make(chan int, 1)
		go func() {
			args := append(session, "--post", endpoint.URL, "--header", "X-Key: k", "--retry-first", "1ms", "--concurrency", "1", "--status-every", "2")
			code <- run(ctx, s.at(t, "tcp", "forward", args...), strings.NewReader(""), io.Discard, &log)
		}()
		for _, want := range []string{"a/b k one", "a/b k two"} {
			if got := <-bodies; got != want {
				t.Errorf("version %s: got %q, want %q", v, got, want)
			}
		}
		stop()
		if got := <-code; got != exitOK || !strings.Contains(log.String(), "msg=stopped sent=2") {
			t.Errorf("version %s: exit code %d: %s", v, got, log.String())
		}
		if out := succeed(t, "", s.at(t, "tcp", "sub", append(session, "-q", "1", "-W", "100ms")...)...); out != "" {
			t.Errorf("version %s: left in the session: %q", v, out)
		}
	}
}

// Payloads can end with anything, be counted, and have identifiers of their own.
func TestFeeding(t *testing.T) {
	s := start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin}})
	sub := s.at(t, "tcp", "sub", "-t", "a", "-q", "1", "-i", "logger", "-c", "-F", "%p %P")
	succeed(t, "", append(sub, "-E")...)
	succeed(t, "one;\ntwo;\nthree;\nfour", s.at(t, "tcp", "pub", "-t", "a", "-q", "1", "-l", "--delimiter", `;\n`, "--count", "3",
		"--rate", "1000", "--property", "message-id=auto", "--property", "k=v", "--reconnect")...)
	lines := strings.Split(succeed(t, "", append(sub, "-C", "3")...), "\n")
	ids := map[string]bool{}
	for i, want := range []string{"one", "two", "three"} {
		text, id, _ := strings.Cut(lines[i], " k:v message-id:")
		if text != want || len(id) < 20 || ids[id] {
			t.Errorf("got %q, want %s and an identifier", lines[i], want)
		}
		ids[id] = true
	}
}
