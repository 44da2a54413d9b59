package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstockmq/penstock/client"
	"github.com/penstockmq/penstock/client/forward"
)

// A forwarding is the flags of forward that say where messages go. They are called as those of nsq_to_http.
type forwarding struct {
	post, put, get []string
	mode           string
	headers        []string
	contentType    string
	format         string
	timeout        time.Duration
	workers        int
	sample         float64
	retryFor       time.Duration
	retryFirst     time.Duration
	retryMax       time.Duration
	statusEvery    uint64
	tls            client.TLS
}

func forwardCommand() *cobra.Command {
	var conn connection
	var m member
	var f forwarding
	c := &cobra.Command{
		Use:   "forward {--channel NAME | -t FILTER} {--post URL | --put URL | --get URL}",
		Short: "Send what arrives to HTTP endpoints",
		Long: "Send messages to HTTP endpoints, and acknowledge what they answer with 2xx. The body is the payload, and headers say\n" +
			"the rest: Mqtt-Topic, Mqtt-Qos, Mqtt-Retain, Mqtt-User-Property …; with --format json the body is the whole message.\n" +
			"When the endpoint cannot be reached or answers 408, 425, 429 or 5xx, a message is tried again, with growing pauses that\n" +
			"heed Retry-After. After --retry-for it is returned to its channel, which delivers it again later or gives it to the dead\n" +
			"letter. Any other 4xx returns it at once. Without a channel trying has no end, and a refused message is dropped.",
		Example: "  penstock forward --channel billing --post https://erp.example/invoices --header 'Authorization: Bearer …'\n" +
			"  penstock forward -t '$share/hooks/orders/#' -c -i hooks-1 --post http://a:8080/in --post http://b:8080/in --mode failover",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			options, err := conn.options()
			if err != nil {
				return err
			}
			return f.run(c.Context(), options, &m, c.ErrOrStderr())
		},
	}
	conn.define(c.Flags())
	m.define(c.Flags())
	f.define(c.Flags())
	return c
}

func (w *forwarding) define(f *pflag.FlagSet) {
	f.StringArrayVar(&w.post, "post", nil, "URL to POST to; repeatable")
	f.StringArrayVar(&w.put, "put", nil, "URL to PUT to; repeatable")
	f.StringArrayVar(&w.get, "get", nil, "URL to GET, with %s for the payload; repeatable")
	f.StringVar(&w.mode, "mode", "round-robin", "with several URLs: round-robin (in turn) or failover (the first that works)")
	f.StringArrayVar(&w.headers, "header", nil, "header of every request, 'Name: value'; repeatable")
	f.StringVar(&w.contentType, "content-type", "application/octet-stream", "content type of messages that have none")
	f.StringVar(&w.format, "format", "raw", "what is sent: raw (payload, the rest in headers) or json (everything)")
	f.DurationVar(&w.timeout, "http-timeout", 10*time.Second, "how long a request may take")
	f.IntVarP(&w.workers, "concurrency", "n", 100, "how many requests are under way at once")
	f.Float64Var(&w.sample, "sample", 1, "which part of the messages is sent, from 0 to 1; the others are acknowledged without")
	f.DurationVar(&w.retryFor, "retry-for", 15*time.Second, "how long a message is tried before its channel has it back; "+
		"with --http-timeout less than the channel's ack_timeout")
	f.DurationVar(&w.retryFirst, "retry-first", 250*time.Millisecond, "pause after the first failure of a message; the following ones double")
	f.DurationVar(&w.retryMax, "retry-max", 30*time.Second, "longest pause")
	f.Uint64Var(&w.statusEvery, "status-every", 0, "log a line after so many messages; 0 is never")
	f.StringVar(&w.tls.CAFile, "http-cafile", "", "authorities that sign the endpoints' certificates, PEM (default: the system's)")
	f.StringVar(&w.tls.CertFile, "http-cert", "", "certificate for the endpoints, PEM")
	f.StringVar(&w.tls.KeyFile, "http-key", "", "private key for the endpoints, PEM")
	f.BoolVar(&w.tls.Insecure, "http-insecure", false, "accept any certificate of the endpoints")
}

func (w *forwarding) run(ctx context.Context, o client.Options, m *member, stderr io.Writer) error {
	log, err := m.log(stderr)
	if err != nil {
		return err
	}
	consumption, err := m.consumption("forward", log)
	if err != nil {
		return err
	}
	options, err := w.options(o, &consumption, log)
	if err != nil {
		return err
	}
	forwarder := forward.New(options)
	consumption.Work = forwarder.Run
	if err = consume(ctx, o, consumption, log); err == nil {
		forwarder.Report("stopped")
	}
	return err
}

func (w *forwarding) options(o client.Options, c *client.Consumption, log *slog.Logger) (forward.Options, error) {
	options := forward.Options{
		Failover: w.mode == "failover", ContentType: w.contentType, JSON: w.format == "json", Timeout: w.timeout,
		Workers: w.workers, Sample: w.sample, RetryFor: w.retryFor, RetryFirst: w.retryFirst, RetryMax: w.retryMax,
		Requeues: c.Requeues(), Refuses: o.Version == client.MQTT5, StatusEvery: w.statusEvery, Log: log,
	}
	switch {
	case w.mode != "failover" && w.mode != "round-robin":
		return options, misused("--mode: expected round-robin or failover, got %q", w.mode)
	case w.format != "raw" && w.format != "json":
		return options, misused("--format: expected raw or json, got %q", w.format)
	case w.sample < 0 || w.sample > 1:
		return options, misused("--sample: expected 0 to 1, got %g", w.sample)
	case w.workers < 1:
		return options, misused("-n: expected at least 1, got %d", w.workers)
	case w.timeout <= 0, w.retryFirst <= 0, w.retryMax < w.retryFirst:
		return options, misused("expected an --http-timeout and a --retry-first above 0, and a --retry-max not below that")
	}
	var err error
	if options.Method, options.URLs, err = w.urls(); err != nil {
		return options, err
	}
	if options.Header, err = w.header(); err != nil {
		return options, err
	}
	options.Transport, err = w.transport()
	return options, err
}

// urls are the endpoints, all for one method.
func (w *forwarding) urls() (method string, urls []string, err error) {
	for m, given := range map[string][]string{http.MethodPost: w.post, http.MethodPut: w.put, http.MethodGet: w.get} {
		if len(given) > 0 && method != "" {
			method = ""
			break
		}
		if len(given) > 0 {
			method, urls = m, given
		}
	}
	if method == "" {
		return "", nil, misused("forward needs one of --post URL, --put URL and --get URL")
	}
	for _, text := range urls {
		if method == http.MethodGet && strings.Count(text, "%s") != 1 {
			return "", nil, misused("--get: expected %%s once in %q, for the payload", text)
		}
		u, err := url.Parse(strings.Replace(text, "%s", "", 1))
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return "", nil, misused("expected a URL such as https://host/path, got %q", text)
		}
	}
	return method, urls, nil
}

func (w *forwarding) header() (http.Header, error) {
	header := http.Header{}
	for _, line := range w.headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, misused("--header: expected 'Name: value', got %q", line)
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return header, nil
}

// transport keeps a connection for each worker.
func (w *forwarding) transport() (*http.Transport, error) {
	config, err := w.tls.Config()
	if err != nil {
		return nil, usageError{err}
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = config
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, w.workers
	return t, nil
}
