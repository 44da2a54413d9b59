package admin

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockmq/penstock/configs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Bounds of one HTTP request.
const (
	headerTimeout  = 5 * time.Second
	requestTimeout = 30 * time.Second // not of a backup
	idleTimeout    = 2 * time.Minute
	headerBytesMax = 16 << 10
	scrapesMax     = 4 // at once
	indexPage      = "Penstock\n\n" +
		"/metrics             Prometheus metrics\n" +
		"/healthz             200 while the process lives\n" +
		"/readyz              200 while it takes clients\n" +
		"/api/storage/stats   what the store holds, JSON\n" +
		"/api/storage/backup  the store, for penstock storage restore\n" +
		"/api/bridges         the bridges to other brokers, JSON\n" +
		"/api/channels        the durable queues, JSON\n"
	scrapeChallenge = `Bearer realm="penstock"`
)

// A Server is the broker's HTTP side.
type Server struct {
	// Fixed when Open returns.
	token    [sha256.Size]byte // of the bearer token
	locked   bool              // there is a token
	listener net.Listener
	http     *http.Server
	mux      *http.ServeMux
	registry *prometheus.Registry
	lasting  context.Context // ends with Interrupt
	end      context.CancelFunc
	// channelMetrics is how many channels have metrics of their own.
	channelMetrics int
	// Shared.
	ready   atomic.Bool
	serving sync.WaitGroup
}

// Open listens at cfg.Address, which must not be empty, and serves until Close. It is not ready yet. The store is nil if the
// broker has none on disk.
func Open(cfg configs.Admin, src Source, store Store, log *slog.Logger) (*Server, error) {
	l, err := net.Listen("tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	s := &Server{listener: l, token: sha256.Sum256([]byte(cfg.Token)), locked: cfg.Token != "", channelMetrics: cfg.MaxChannelMetrics}
	s.lasting, s.end = context.WithCancel(context.Background())
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() && !s.locked {
		log.Warn("metrics can be read by anyone who reaches admin.address: set admin.token", "address", l.Addr().String())
	}
	s.http = &http.Server{
		Handler:           s.routes(src, store, log),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: headerBytesMax,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	s.serving.Go(func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("admin server ended", "err", err)
		}
	})
	return s, nil
}

// Addr is the address it listens on, with the port the system chose for port 0.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// SetReady says what /readyz answers.
func (s *Server) SetReady(ready bool) { s.ready.Store(ready) }

// Interrupt breaks off what could outlast the broker: backups in progress. Twice is harmless.
func (s *Server) Interrupt() { s.end() }

// Close stops listening and waits for requests in progress until ctx ends. Twice is harmless.
func (s *Server) Close(ctx context.Context) error {
	s.SetReady(false)
	s.Interrupt()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("admin: %w", err), s.http.Close())
	}
	s.serving.Wait()
	return err
}

func (s *Server) routes(src Source, store Store, log *slog.Logger) http.Handler {
	registry := prometheus.NewRegistry()
	s.registry = registry
	if store != nil {
		registry.MustRegister(newStoreCollector(store))
	}
	registry.MustRegister(
		newCollector(src), collectors.NewGoCollector(), collectors.NewBuildInfoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelError),
		MaxRequestsInFlight: scrapesMax,
		Timeout:             requestTimeout,
	})
	mux := http.NewServeMux()
	s.mux = mux
	mux.Handle("GET /metrics", s.guard(metrics))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", s.readyz)
	s.storeRoutes(mux, store, log)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, indexPage) })
	return mux
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if s.ready.Load() {
		say(w, http.StatusOK, "ready\n")
		return
	}
	say(w, http.StatusServiceUnavailable, "not ready\n")
}

// say answers in words.
func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // the client may be gone
}

// sayJSON answers with a value.
func sayJSON(w http.ResponseWriter, status int, value any) {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the client may be gone
}
