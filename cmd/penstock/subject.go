package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"
)

// A subject is what commands of an operator are about: the bridges or the channels of a running broker.
type subject struct {
	path          string // where the broker is asked about them
	file, address string // of the broker: its configuration, and its HTTP side instead of the one named there
}

// newSubject has the flags of a command, and of those below it, say which broker is asked.
func newSubject(c *cobra.Command, path string) *subject {
	s := &subject{path: path}
	c.PersistentFlags().StringVar(&s.file, "config", "", "configuration file of the broker")
	c.PersistentFlags().StringVar(&s.address, "address", "", "host:port of the broker's HTTP side, instead of admin.address")
	return s
}

// A request is what a broker is asked about one bridge or channel, or about all if the name is empty.
type request struct {
	method, name string
	what         string // behind the name in the path
	text         []byte
}

// ask sends a request and decodes the answer, which is no JSON if it is nil.
func (s *subject) ask(ctx context.Context, r request, answer any) error {
	o, err := operatorOf(s.file, s.address)
	if err != nil {
		return err
	}
	path := s.path
	if r.name != "" {
		path += "/" + url.PathEscape(r.name)
	}
	body, err := o.ask(ctx, r.method, path+r.what, bytes.NewReader(r.text))
	if err != nil {
		return err
	}
	defer body.Close()
	if answer == nil {
		return nil
	}
	return o.decode(body, answer)
}

// get asks about one, or all.
func (s *subject) get(ctx context.Context, name, what string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return s.ask(ctx, request{method: http.MethodGet, name: name, what: what}, answer)
}

// readFrom reads what is sent along: a file, or standard input for -.
func readFrom(stdin io.Reader, file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(file)
}
