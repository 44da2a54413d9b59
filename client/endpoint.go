package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
)

// An Endpoint is where a broker listens.
type Endpoint struct {
	Scheme  string      // mqtt, mqtts, ws, wss or unix
	Address string      // host:port, or the path of the Unix socket
	Path    string      // ws and wss: path and query of the URL
	TLS     *tls.Config // mqtts and wss
}

// schemes maps what may stand in front of :// to the scheme and its usual port.
var schemes = map[string]struct{ scheme, port string }{
	"mqtt": {"mqtt", "1883"}, "tcp": {"mqtt", "1883"},
	"mqtts": {"mqtts", "8883"}, "tls": {"mqtts", "8883"}, "ssl": {"mqtts", "8883"},
	"ws": {"ws", "80"}, "wss": {"wss", "443"}, "unix": {"unix", ""},
}

// ParseURL reads an endpoint such as mqtt://host, mqtts://host:8883, ws://host:8083/mqtt or
// unix:///run/penstock.sock, and the username and password in it.
func ParseURL(text string) (e Endpoint, username, password string, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return e, "", "", fmt.Errorf("expected a URL such as mqtt://localhost:1883: %w", err)
	}
	known, ok := schemes[u.Scheme]
	if !ok {
		return e, "", "", fmt.Errorf("expected a URL with mqtt, mqtts, ws, wss or unix, got %q", u.Redacted())
	}
	password, _ = u.User.Password()
	e = Endpoint{Scheme: known.scheme, Address: u.Host}
	switch {
	case e.Scheme == "unix":
		e.Address = u.Host + u.Path
	case u.Port() == "":
		e.Address = net.JoinHostPort(u.Hostname(), known.port)
	}
	if e.Scheme == "ws" || e.Scheme == "wss" {
		e.Path = u.RequestURI()
	}
	if e.Address == "" || (e.Scheme != "unix" && u.Hostname() == "") {
		return e, "", "", fmt.Errorf("expected a host in the URL %q", u.Redacted())
	}
	return e, u.User.Username(), password, nil
}

// A TLS names the files of a TLS connection.
type TLS struct {
	CAFile   string // authorities the broker's certificate must come from; empty takes the system's
	CertFile string // the client's own certificate and
	KeyFile  string // its private key
	Insecure bool   // accepts any certificate of the broker
}

// Config reads the files.
func (t TLS) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.Insecure}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("a certificate needs its key, and a key its certificate")
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
