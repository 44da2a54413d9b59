package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/penstockmq/penstock/configs"
)

// A fixedStore has fixed numbers and writes what backup says.
type fixedStore struct {
	stats  StoreStats
	backup func(w io.Writer) error
}

func (f *fixedStore) Stats() StoreStats        { return f.stats }
func (f *fixedStore) Backup(w io.Writer) error { return f.backup(w) }

func openWith(t *testing.T, token string, store Store) *Server {
	t.Helper()
	s, err := Open(configs.Admin{Address: "127.0.0.1:0", Token: token}, new(fixedSource), store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// distinct gives every number of the stats a value of its own and returns which; times are whole seconds.
func distinct(t *testing.T, stats *StoreStats) map[float64]string {
	t.Helper()
	expected := make(map[float64]string)
	fields := reflect.ValueOf(stats).Elem()
	for i := range fields.NumField() {
		name, f, value := fields.Type().Field(i).Name, fields.Field(i), uint64(1000+i)
		switch {
		case f.Type() == reflect.TypeFor[time.Duration]():
			f.SetInt(int64(value) * int64(time.Second))
		case f.CanInt():
			f.SetInt(int64(value))
		case f.CanUint():
			f.SetUint(value)
		case f.Kind() == reflect.Bool:
			f.SetBool(true)
			value = 1
		case f.Kind() == reflect.String:
			f.SetString("folder")
			continue
		default:
			t.Fatalf("StoreStats.%s is a %s: teach this test", name, f.Type())
		}
		expected[float64(value)] = name
	}
	return expected
}

// Every number of a store is a metric and in the JSON.
func TestEveryStoreStatIsTold(t *testing.T) {
	store := new(fixedStore)
	expected := distinct(t, &store.stats)
	s := openWith(t, "", store)
	for name, f := range scrape(t, s) {
		if !strings.HasPrefix(name, "penstock_storage_") {
			continue
		}
		if (f.kind == "COUNTER") != strings.HasSuffix(name, "_total") || f.help == "" {
			t.Errorf("%s is a %s with help %q", name, f.kind, f.help)
		}
		if _, ok := expected[f.values[""]]; !ok {
			t.Errorf("%s is %v, which is no field's value or was seen before", name, f.values[""])
		}
		delete(expected, f.values[""])
	}
	for value, field := range expected {
		t.Errorf("StoreStats.%s = %v was not scraped", field, value)
	}
	var told StoreStats
	status, body := get(t, s, StatsPath, "")
	if err := json.Unmarshal([]byte(body), &told); err != nil || status != http.StatusOK || told != store.stats {
		t.Errorf("%d %s: %v", status, body, err)
	}
}

// A broker without a store on disk says so, and has none of its metrics.
func TestNoStore(t *testing.T) {
	s := openWith(t, "", nil)
	for _, path := range []string{StatsPath, BackupPath} {
		if status, body := get(t, s, path, ""); status != http.StatusNotFound || body != memoryOnly+"\n" {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	for name := range scrape(t, s) {
		if strings.HasPrefix(name, "penstock_storage_") {
			t.Errorf("there is %s", name)
		}
	}
}

// A store's contents are given to who has the token; where there is none, to this machine alone and to no web page.
func TestStoreIsPrivate(t *testing.T) {
	store := &fixedStore{backup: func(w io.Writer) error { _, err := io.WriteString(w, "all"); return err }}
	for _, c := range []struct {
		token, authorization, remote, host string
		want                               int
	}{
		{"", "", "127.0.0.1:5", "127.0.0.1:9883", http.StatusOK},
		{"", "", "[::1]:5", "[::1]:9883", http.StatusOK},
		{"", "", "[::ffff:127.0.0.1]:5", "localhost:9883", http.StatusOK},
		{"", "", "127.0.0.1:5", "localhost", http.StatusOK},
		{"", "", "192.0.2.1:5", "127.0.0.1:9883", http.StatusForbidden},
		{"", "", "127.0.0.1:5", "pages.example:9883", http.StatusForbidden},
		{"", "", "127.0.0.1:5", "localhost.pages.example", http.StatusForbidden},
		{"secret", "", "127.0.0.1:5", "127.0.0.1:9883", http.StatusUnauthorized},
		{"secret", "Bearer wrong", "127.0.0.1:5", "127.0.0.1:9883", http.StatusUnauthorized},
		{"secret", "Bearer secret", "192.0.2.1:5", "broker.example", http.StatusOK},
	} {
		s := openWith(t, c.token, store)
		for _, path := range []string{StatsPath, BackupPath} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.RemoteAddr, r.Host = c.remote, c.host
			r.Header.Set("Authorization", c.authorization)
			w := httptest.NewRecorder()
			s.http.Handler.ServeHTTP(&deadlined{ResponseRecorder: w}, r)
			if w.Code != c.want {
				t.Errorf("%+v: %s: %d", c, path, w.Code)
			}
		}
	}
}

// deadlined is a recorder that takes deadlines as a connection does.
type deadlined struct{ *httptest.ResponseRecorder }

func (*deadlined) SetWriteDeadline(time.Time) error { return nil }

// A backup arrives whole, and can be told from one that failed on the way.
func TestBackupIsWholeOrAnError(t *testing.T) {
	const size = 5 << 20
	fail := false
	store := &fixedStore{backup: func(w io.Writer) error {
		for range size / 1000 {
			if _, err := w.Write(bytes.Repeat([]byte{7}, 1000)); err != nil {
				return err
			}
		}
		if fail {
			return errors.New("a bad disk")
		}
		return nil
	}}
	s := openWith(t, "", store)
	if status, body := get(t, s, BackupPath, ""); status != http.StatusOK || body != strings.Repeat("\a", size/1000*1000) {
		t.Errorf("%d, %d bytes", status, len(body))
	}
	fail = true
	response := request(t, s, http.MethodGet, BackupPath)
	defer response.Body.Close()
	if n, err := io.Copy(io.Discard, response.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d bytes of a backup that failed, %v", n, err)
	}
}

func request(t *testing.T, s *Server, method, path string) *http.Response {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+s.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// While a backup is written there is no second one, HEAD reads nothing, and a broker that ends does not wait for a client
// that does not read.
func TestBackupInProgress(t *testing.T) {
	begun, ended := make(chan struct{}, 1), make(chan error, 1)
	store := &fixedStore{backup: func(w io.Writer) (err error) {
		begun <- struct{}{}
		for err == nil { // until the client's window is full, and then for ever
			_, err = w.Write(make([]byte, 1<<20))
		}
		ended <- err
		return err
	}}
	s := openWith(t, "", store)
	head := request(t, s, http.MethodHead, BackupPath)
	head.Body.Close()
	if head.StatusCode != http.StatusOK || len(begun) != 0 {
		t.Errorf("HEAD: %d, %d backups", head.StatusCode, len(begun))
	}
	response := request(t, s, http.MethodGet, BackupPath)
	defer response.Body.Close()
	<-begun
	if status, body := get(t, s, BackupPath, ""); status != http.StatusServiceUnavailable || !strings.Contains(body, "another backup") {
		t.Errorf("a second backup: %d %q", status, body)
	}
	s.Interrupt()
	select {
	case <-ended:
	case <-time.After(requestTimeout / 2):
		t.Error("the backup goes on")
	}
	if _, err := io.Copy(io.Discard, response.Body); err == nil {
		t.Error("the client takes it for a whole one")
	}
}
