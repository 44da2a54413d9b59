package configs

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ParseListener reads a listener from a URL such as tcp://127.0.0.1:1883, ws://:8083/mqtt,
// unix:///run/penstock.sock or tls://:8883?cert=c.pem&key=k.pem. The query may set
// name, cert, key, client_ca, username_from_cert and proxy_protocol.
func ParseListener(text string) (Listener, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.User != nil || u.Fragment != "" {
		return Listener{}, fmt.Errorf("expected a URL such as tcp://127.0.0.1:1883, got %q", text)
	}
	if err := checkChoice(u.Scheme, choicesOf["listeners.type"]); err != nil {
		return Listener{}, fmt.Errorf("%w in %q", err, text)
	}
	l := Listener{Type: u.Scheme, Address: u.Host, Path: u.Path}
	if l.Type == "unix" {
		l.Address, l.Path = u.Host+u.Path, ""
	}
	if (l.Type == "tcp" || l.Type == "tls") && l.Path == "/" {
		l.Path = ""
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Listener{}, fmt.Errorf("expected a query such as ?cert=c.pem&key=k.pem in %q", text)
	}
	for _, key := range slices.Sorted(maps.Keys(query)) {
		if err := l.set(key, query.Get(key)); err != nil {
			return Listener{}, fmt.Errorf("%s in %q: %w", key, text, err)
		}
	}
	return l, nil
}

// set gives one key of a listener a value from the query of its URL.
func (l *Listener) set(key, value string) (err error) {
	texts := map[string]*string{
		"name": &l.Name, "cert": &l.Cert, "key": &l.Key, "client_ca": &l.ClientCA, "proxy_protocol": &l.ProxyProtocol,
	}
	if field, ok := texts[key]; ok {
		*field = value
		return nil
	}
	if key != "username_from_cert" {
		return errors.New(unknownKey(key, append(slices.Sorted(maps.Keys(texts)), "username_from_cert")))
	}
	if l.UsernameFromCert, err = strconv.ParseBool(value); err != nil {
		return fmt.Errorf("expected true or false, got %q", value)
	}
	return nil
}

func (l *Listener) isTLS() bool       { return l.Type == "tls" || l.Type == "wss" }
func (l *Listener) isWebSocket() bool { return l.Type == "ws" || l.Type == "wss" }

// fill gives what was left open its default.
func (l *Listener) fill() {
	if l.Path == "" && l.isWebSocket() {
		l.Path = "/mqtt"
	}
	if l.ProxyProtocol == "" {
		l.ProxyProtocol = "off"
	}
}

// nameListeners names those without a name after their type: tcp, tcp-2, tcp-3.
func nameListeners(listeners []Listener) {
	taken := map[string]bool{}
	for _, l := range listeners {
		taken[l.Name] = true
	}
	for i := range listeners {
		l := &listeners[i]
		if l.Name != "" {
			continue
		}
		l.Name = l.Type
		for n := 2; taken[l.Name]; n++ {
			l.Name = l.Type + "-" + strconv.Itoa(n)
		}
		taken[l.Name] = true
	}
}

// socketOf is what two listeners must not share: the address, with every way to write "all interfaces" made
// one. It is empty for port 0, which the system replaces by a free one.
func socketOf(kind, address string) string {
	if kind == "unix" {
		return "unix:" + address
	}
	i := strings.LastIndex(address, ":")
	host, port := address[:i], address[i+1:]
	if n, err := strconv.Atoi(port); err != nil || n == 0 {
		return ""
	}
	switch host {
	case "0.0.0.0", "[::]", "[::0]":
		host = ""
	}
	return host + ":" + port
}
