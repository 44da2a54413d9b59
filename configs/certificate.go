package configs

import (
	"crypto/tls"
	"crypto/x509"
	"os"
)

// checkTLS makes sure that a TLS listener has a certificate and the key that belongs to it.
func (l listenerCheck) checkTLS() error {
	if !l.isTLS() {
		return nil
	}
	for _, file := range []struct{ key, path, what string }{
		{"cert", l.Cert, "certificate chain"},
		{"key", l.Key, "private key"},
	} {
		if file.path == "" {
			return l.mistake(file.key, "expected the PEM file of the %s: type %s needs one", file.what, l.Type)
		}
		if err := checkReadable(file.path); err != nil {
			return l.mistake(file.key, "expected the PEM file of the %s: %s: %s", file.what, file.path, reason(err))
		}
	}
	if _, err := tls.LoadX509KeyPair(l.Cert, l.Key); err != nil {
		return l.mistake("cert", "expected a certificate with its key: %s, %s: %s", l.Cert, l.Key, err)
	}
	return nil
}

// checkClientCA makes sure that there are authorities to check client certificates against.
func (l listenerCheck) checkClientCA() error {
	if l.ClientCA == "" {
		if l.UsernameFromCert {
			return l.mistake("username_from_cert", "expected client_ca with it: without one no client shows a certificate")
		}
		return nil
	}
	pem, err := os.ReadFile(l.ClientCA)
	if err != nil {
		return l.mistake("client_ca", "expected a PEM file of certificates: %s: %s", l.ClientCA, reason(err))
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return l.mistake("client_ca", "expected a PEM file of certificates: %s holds none", l.ClientCA)
	}
	return nil
}
