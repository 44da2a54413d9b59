package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard asks for the bearer token, if there is one.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.locked && !s.admits(r.Header.Get("Authorization")) {
			w.Header().Set("WWW-Authenticate", scrapeChallenge)
			http.Error(w, "a bearer token is needed", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// admits compares in a time that tells nothing about the token, its length included.
func (s *Server) admits(authorization string) bool {
	scheme, token, _ := strings.Cut(authorization, " ")
	shown := sha256.Sum256([]byte(token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(shown[:], s.token[:]) == 1
}

// private asks for the bearer token. Where there is none it answers this machine only, under a name that no web page's
// address can have: what clients say to each other is not for anyone who reaches the port.
func (s *Server) private(next http.Handler) http.Handler {
	if s.locked {
		return s.guard(next)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(r.RemoteAddr) || !isNumber(r.Host) {
			say(w, http.StatusForbidden, "without admin.token only this machine may ask, at an address of numbers\n")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// operate serves what an operator asks or changes, privately: a web page must not pause a bridge or empty a channel of the
// machine that shows it.
func (s *Server) operate(pattern string, f http.HandlerFunc) {
	s.mux.Handle(pattern, s.private(http.NewCrossOriginProtection().Handler(f)))
}

func isLoopback(address string) bool {
	peer, err := netip.ParseAddrPort(address)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

// isNumber reports whether a Host header has an IP address or localhost, which DNS cannot point elsewhere.
func isNumber(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil || name == "localhost"
}
