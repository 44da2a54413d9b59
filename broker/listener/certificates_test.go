package listener

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/configs"
)

// An authority signs certificates for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := authority{cert: template, key: newKey(t)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign makes a certificate for 127.0.0.1 and for client authentication.
func (a authority) sign(t *testing.T, commonName string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: commonName},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(1, 0, 0),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// pool trusts the authority.
func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// write puts a certificate signed by a where cfg names it.
func (a authority) write(t *testing.T, cfg configs.Listener, commonName string) {
	t.Helper()
	pair := a.sign(t, commonName)
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, cfg.Cert, "CERTIFICATE", pair.Certificate[0])
	writePEM(t, cfg.Key, "PRIVATE KEY", key)
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// secured is the configuration of a TLS listener whose certificate a signed.
func secured(t *testing.T, kind string, a authority) configs.Listener {
	t.Helper()
	dir := t.TempDir()
	cfg := configs.Listener{Type: kind, Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	a.write(t, cfg, "broker")
	return cfg
}

// mutual makes cfg ask for client certificates signed by a.
func mutual(t *testing.T, cfg configs.Listener, a authority) configs.Listener {
	t.Helper()
	cfg.ClientCA = filepath.Join(t.TempDir(), "clients.pem")
	writePEM(t, cfg.ClientCA, "CERTIFICATE", a.cert.Raw)
	return cfg
}

// dialTLS connects and shakes hands.
func (r *running) dialTLS(t *testing.T, cfg *tls.Config) (*tls.Conn, error) {
	t.Helper()
	cfg.ServerName = "127.0.0.1"
	client := tls.Client(r.dial(t), cfg)
	return client, client.Handshake()
}

func TestTLSConnects(t *testing.T) {
	a := newAuthority(t, "authority")
	r := start(t, secured(t, "tls", a), Options{})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client, err := r.dialTLS(t, &tls.Config{RootCAs: a.pool(), MaxVersion: version})
		if err != nil {
			t.Fatalf("%s: %v", tls.VersionName(version), err)
		}
		h := r.next(t)
		expectTalk(t, client, h)
		if h.peer.Remote.String() != client.LocalAddr().String() || h.peer.CommonName != "" {
			t.Errorf("peer is %+v, client is at %v", h.peer, client.LocalAddr())
		}
	}
}

func TestTLSBefore12IsRefused(t *testing.T) {
	a := newAuthority(t, "authority")
	r := start(t, secured(t, "tls", a), Options{})
	old := &tls.Config{RootCAs: a.pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if _, err := r.dialTLS(t, old); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	r.expectRefusal(t, RefusedTLS, "reason=tls_handshake")
}

// New certificate files hold for new handshakes; open connections go on.
func TestReloadChangesNewHandshakesOnly(t *testing.T) {
	before, after := newAuthority(t, "before"), newAuthority(t, "after")
	cfg := secured(t, "tls", before)
	r := start(t, cfg, Options{})
	// A session ticket of before must not bring the old certificate back either.
	tickets := tls.NewLRUClientSessionCache(1)
	client, err := r.dialTLS(t, &tls.Config{RootCAs: before.pool(), ClientSessionCache: tickets})
	if err != nil {
		t.Fatal(err)
	}
	h := r.next(t)
	expectTalk(t, client, h)
	after.write(t, cfg, "broker")
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	expectTalk(t, client, h)
	fresh, err := r.dialTLS(t, &tls.Config{RootCAs: after.pool()})
	if err != nil {
		t.Fatal(err)
	}
	expectTalk(t, fresh, r.next(t))
	if _, err := r.dialTLS(t, &tls.Config{RootCAs: before.pool(), ClientSessionCache: tickets}); err == nil {
		t.Error("a new handshake got the old certificate")
	}
}

// A reload that cannot read a file fails with its name and leaves everything as it was.
func TestReloadKeepsTheOldOnError(t *testing.T) {
	a := newAuthority(t, "authority")
	cfg := mutual(t, secured(t, "tls", a), a)
	for _, file := range []string{cfg.Cert, cfg.Key, cfg.ClientCA} {
		r := start(t, cfg, Options{})
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.Reload(); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("Reload: %v, want an error that names %s", err, file)
		}
		_, err = r.dialTLS(t, &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{a.sign(t, "meter")}})
		if err != nil {
			t.Error(err)
		}
		r.next(t)
		if err := os.WriteFile(file, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReloadWithoutTLSIsHarmless(t *testing.T) {
	if err := start(t, configs.Listener{Type: "tcp"}, Options{}).Reload(); err != nil {
		t.Error(err)
	}
}

// The common name of a client certificate is passed on once the certificate is verified.
func TestMutualTLSTellsTheCommonName(t *testing.T) {
	a, clients := newAuthority(t, "authority"), newAuthority(t, "clients")
	cfg := mutual(t, secured(t, "tls", a), clients)
	cfg.UsernameFromCert = true
	r := start(t, cfg, Options{})
	client, err := r.dialTLS(t, &tls.Config{
		RootCAs: a.pool(), Certificates: []tls.Certificate{clients.sign(t, "meter-7")},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := r.next(t)
	if h.peer.CommonName != "meter-7" || !h.peer.UsernameFromCert {
		t.Errorf("peer is %+v, want common name meter-7", h.peer)
	}
	expectTalk(t, client, h)
}

func TestMutualTLSRefuses(t *testing.T) {
	a, clients, others := newAuthority(t, "authority"), newAuthority(t, "clients"), newAuthority(t, "others")
	for name, certificates := range map[string][]tls.Certificate{
		"no certificate":      nil,
		"foreign certificate": {others.sign(t, "meter-7")},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, mutual(t, secured(t, "tls", a), clients), Options{})
			// TLS 1.3 tells the client only after its handshake.
			client, err := r.dialTLS(t, &tls.Config{
				RootCAs: a.pool(),
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					return &append(certificates, tls.Certificate{})[0], nil
				},
			})
			if err == nil {
				expectEnd(t, client)
			}
			r.expectRefusal(t, RefusedTLS, "reason=tls_handshake")
		})
	}
}

// An authority that is taken out of client_ca loses its clients at the next handshake, also
// those that hold a session ticket.
func TestReloadedAuthorityHoldsForTickets(t *testing.T) {
	a, clients, others := newAuthority(t, "authority"), newAuthority(t, "clients"), newAuthority(t, "others")
	cfg := mutual(t, secured(t, "tls", a), clients)
	r := start(t, cfg, Options{})
	device := &tls.Config{
		RootCAs: a.pool(), Certificates: []tls.Certificate{clients.sign(t, "meter")},
		ClientSessionCache: tls.NewLRUClientSessionCache(1), MaxVersion: tls.VersionTLS12,
	}
	client, err := r.dialTLS(t, device)
	if err != nil {
		t.Fatal(err)
	}
	expectTalk(t, client, r.next(t))
	writePEM(t, cfg.ClientCA, "CERTIFICATE", others.cert.Raw)
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.dialTLS(t, device); err == nil {
		t.Error("a client of the removed authority was accepted")
	}
	r.expectRefusal(t, RefusedTLS, "reason=tls_handshake")
}

// startScriptedTLS starts a TLS gate whose sockets are pipes.
func startScriptedTLS(t *testing.T, o Options) (*running, *scriptedSocket) {
	t.Helper()
	c, err := newCertificates(secured(t, "tls", newAuthority(t, "authority")))
	if err != nil {
		t.Fatal(err)
	}
	return startScripted(t, &gate{certificates: c}, o)
}

// A client that does not shake hands is closed at connect_timeout to the instant, and meanwhile
// holds nobody up.
func TestSilentHandshakeEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startScriptedTLS(t, Options{ConnectTimeout: 7 * time.Second})
		silentOurs, silent := net.Pipe()
		s.accepts <- silentOurs
		quickOurs, quick := net.Pipe()
		s.accepts <- quickOurs
		began := time.Now()
		if err := tls.Client(quick, &tls.Config{InsecureSkipVerify: true}).Handshake(); err != nil {
			t.Fatal(err)
		}
		r.next(t)
		if took := time.Since(began); took != 0 {
			t.Errorf("a client waited %v for another", took)
		}
		expectEnd(t, silent)
		if took := time.Since(began); took != 7*time.Second {
			t.Errorf("closed after %v, want 7 s", took)
		}
		r.expectRefusal(t, RefusedTimeout, "limits.connect_timeout")
	})
}

// Beyond MaxArrivals new connections are closed at once, and logged once until there is room.
func TestArrivalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startScriptedTLS(t, Options{MaxArrivals: 2})
		var clients []net.Conn
		for range 4 {
			ours, theirs := net.Pipe()
			s.accepts <- ours
			clients = append(clients, theirs)
		}
		began := time.Now()
		expectEnd(t, clients[2])
		expectEnd(t, clients[3])
		if took := time.Since(began); took != 0 {
			t.Errorf("closed after %v, want at once", took)
		}
		synctest.Wait()
		if n := strings.Count(r.log.String(), string(RefusedArrivals)); n != 1 || len(r.refused) != 2 {
			t.Errorf("%d refusals, logged %d times:\n%s", len(r.refused), n, r.log)
		}
	})
}

// Close ends handshakes in progress, waits for them, and blames no client.
func TestCloseEndsHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startScriptedTLS(t, Options{})
		ours, theirs := net.Pipe()
		s.accepts <- ours
		synctest.Wait()
		began := time.Now()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		expectEnd(t, theirs)
		if took := time.Since(began); took != 0 || r.log.String() != "" || len(r.refused) != 0 {
			t.Errorf("Close took %v, refused %d and logged %q", took, len(r.refused), r.log)
		}
	})
}
