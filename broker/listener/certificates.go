package listener

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/penstockmq/penstock/configs"
)

// certificates are the files of a TLS listener, as last read without an error.
type certificates struct {
	// Fixed when newCertificates returns.
	cert, key, clientCA string
	// Shared.
	current atomic.Pointer[tls.Config] // never changed, only replaced
}

func newCertificates(cfg configs.Listener) (*certificates, error) {
	c := &certificates{cert: cfg.Cert, key: cfg.Key, clientCA: cfg.ClientCA}
	return c, c.load()
}

// load reads the files again. On an error what was read before stays.
func (c *certificates) load() error {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.cert, c.key, err)
	}
	fresh := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if c.clientCA != "" {
		if fresh.ClientCAs, err = readAuthorities(c.clientCA); err != nil {
			return fmt.Errorf("client_ca %s: %w", c.clientCA, err)
		}
		fresh.ClientAuth = tls.RequireAndVerifyClientCert
		// A ticket would let a client in whose authority is no longer trusted.
		fresh.SessionTicketsDisabled = true
	}
	c.current.Store(fresh)
	return nil
}

// config is the configuration for one handshake.
func (c *certificates) config() *tls.Config { return c.current.Load() }

func readAuthorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errNoCertInFile
	}
	return pool, nil
}
