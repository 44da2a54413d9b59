package bridge

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/penstockmq/penstock/client"
	"github.com/penstockmq/penstock/configs"
)

// A target is one address to connect to.
type target struct {
	name     string // for logs, and to know whose session is where
	endpoint client.Endpoint
	patience time.Duration // for a write
}

func (t *target) dial(ctx context.Context) (net.Conn, error) { return t.endpoint.Dial(ctx, t.patience) }

// services are the names below which DNS lists brokers.
var services = map[string]struct{ service, scheme string }{
	"srv": {"mqtt", "tcp"}, "srvs": {"secure-mqtt", "tls"},
}

// A resolver looks a service up in DNS. Tests have their own.
type resolver func(ctx context.Context, service, name string) ([]*net.SRV, error)

func lookupSRV(ctx context.Context, service, name string) ([]*net.SRV, error) {
	_, found, err := net.DefaultResolver.LookupSRV(ctx, service, "tcp", name)
	return found, err
}

// targetsOf lists the addresses of a bridge in the order in which they are to be tried. What DNS says it says anew each time.
func targetsOf(ctx context.Context, b *configs.Bridge, lookup resolver) ([]target, error) {
	config, err := client.TLS{CAFile: b.CA, CertFile: b.Cert, KeyFile: b.Key, Insecure: b.Insecure}.Config()
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	config.ServerName = b.ServerName
	var all []target
	var failed error
	for _, address := range b.Targets() {
		urls, err := spelledOut(ctx, address, lookup)
		if err != nil {
			failed = err
			continue
		}
		for _, u := range urls {
			endpoint, _, _, err := client.ParseURL(u)
			if err != nil {
				return nil, err
			}
			own := config.Clone() // the dialer of WebSocket writes to it
			if own.ServerName == "" {
				own.ServerName, _, _ = net.SplitHostPort(endpoint.Address)
			}
			endpoint.TLS = own
			all = append(all, target{name: u, endpoint: endpoint, patience: b.AnswerTimeout})
		}
	}
	if len(all) == 0 {
		return nil, failed
	}
	return all, nil
}

// spelledOut are the URLs that an address stands for.
func spelledOut(ctx context.Context, address string, lookup resolver) ([]string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	kind, ok := services[u.Scheme]
	if !ok {
		return []string{address}, nil
	}
	found, err := lookup(ctx, kind.service, u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", address, err)
	}
	var urls []string
	for _, s := range found { // in the order of their priority and weight
		host := strings.TrimSuffix(s.Target, ".")
		urls = append(urls, kind.scheme+"://"+net.JoinHostPort(host, strconv.Itoa(int(s.Port))))
	}
	if len(urls) == 0 {
		return nil, fmt.Errorf("look up %s: no brokers there", address)
	}
	return urls, nil
}

// credentialsOf reads who the bridge is for the other broker.
func credentialsOf(b *configs.Bridge) (username, password string, err error) {
	username, password = b.Username, b.Password
	for _, v := range []struct {
		name string
		to   *string
	}{{b.UsernameEnv, &username}, {b.PasswordEnv, &password}} {
		if v.name == "" {
			continue
		}
		text, ok := os.LookupEnv(v.name)
		if !ok { // here and not when the file is read: other commands read it too, with another environment
			return "", "", fmt.Errorf("the environment variable %s is not set", v.name)
		}
		*v.to = text
	}
	if b.PasswordFile != "" {
		text, err := os.ReadFile(b.PasswordFile)
		if err != nil {
			return "", "", fmt.Errorf("password: %w", err)
		}
		password, _, _ = strings.Cut(string(text), "\n")
		password = strings.TrimSuffix(password, "\r")
	}
	return username, password, nil
}

// A backoff says how long to wait before the next attempt: exponential, with full jitter above half, so that what was cut off
// together does not come back together.
type backoff struct {
	min, max time.Duration
	random   func() float64 // 0 to 1
	next     time.Duration
}

func (b *backoff) wait() time.Duration {
	if b.next == 0 {
		b.next = b.min
	}
	d := b.next
	b.next = min(2*b.next, b.max)
	return d/2 + time.Duration(float64(d/2)*b.random())
}

func (b *backoff) reset() { b.next = 0 }
