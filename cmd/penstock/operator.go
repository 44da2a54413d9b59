package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/penstockmq/penstock/admin"
	"github.com/penstockmq/penstock/configs"
)

// An operator asks a running broker through its HTTP side.
type operator struct {
	target string // host:port
	token  string
}

// newOperator finds the HTTP side that a configuration names, or that is at an address.
func newOperator(cfg *configs.Config, address string) (*operator, error) {
	if address == "" {
		if address = cfg.Admin.Address; address == "" {
			return nil, errors.New("admin.address is empty: this broker cannot be asked")
		}
	}
	target, err := reachable(address)
	if err != nil {
		return nil, err
	}
	return &operator{target: target, token: cfg.Admin.Token}, nil
}

// operatorOf finds the HTTP side that a configuration file names, or that is at an address.
func operatorOf(file, address string) (*operator, error) {
	cfg, err := configs.Load(file, nil)
	if err != nil {
		return nil, err
	}
	return newOperator(&cfg, address)
}

const (
	// askTimeout is how long a broker may take to say what it holds.
	askTimeout = 10 * time.Second
	// refusalMax bounds what is read of an answer that says what is wrong.
	refusalMax = 64 << 10
	// answerMax bounds what is read of an answer that is not a stream; peeked messages are the largest.
	answerMax = 64 << 20
)

// get asks for a path and returns the body, which is to be closed.
func (o *operator) get(ctx context.Context, path string) (io.ReadCloser, error) {
	return o.ask(ctx, http.MethodGet, path, nil)
}

// ask sends a request and returns the body of the answer, which is to be closed.
func (o *operator) ask(ctx context.Context, method, path string, text io.Reader) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+o.target+path, text)
	if err != nil {
		return nil, err
	}
	if o.token != "" {
		request.Header.Set("Authorization", "Bearer "+o.token)
	}
	direct := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}} // through no proxy
	answer, err := direct.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusOK {
		return answer.Body, nil
	}
	defer answer.Body.Close()
	why, _ := io.ReadAll(io.LimitReader(answer.Body, refusalMax)) // the status says enough
	return nil, fmt.Errorf("%s answered %s: %s", o.target, answer.Status, plainText(why))
}

// plainText is what an answer says is wrong, without the JSON around it.
func plainText(answer []byte) string {
	var told struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal(answer, &told); err == nil && told.Error != "" {
		return told.Error
	}
	return strings.TrimSpace(string(answer))
}

// stats asks what the store holds.
func (o *operator) stats(ctx context.Context) (s admin.StoreStats, err error) {
	body, err := o.get(ctx, admin.StatsPath)
	if err != nil {
		return s, err
	}
	defer body.Close()
	err = o.decode(body, &s)
	return s, err
}

// decode reads an answer that is JSON.
func (o *operator) decode(body io.Reader, answer any) error {
	if err := json.NewDecoder(io.LimitReader(body, answerMax)).Decode(answer); err != nil {
		return fmt.Errorf("%s: not an answer of a broker: %w", o.target, err)
	}
	return nil
}

// backup copies the store, as it is now, to w.
func (o *operator) backup(ctx context.Context, w io.Writer) error {
	body, err := o.get(ctx, admin.BackupPath)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(w, body)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s broke the backup off; its log says why", o.target)
	}
	return err
}
