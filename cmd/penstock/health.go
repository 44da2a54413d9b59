package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstockmq/penstock/configs"
)

func healthCommand() *cobra.Command {
	var file, address string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "health",
		Short: "Ask a running broker whether it takes clients",
		Long:  "Ask a running broker whether it takes clients: exits with 0 if it does, else with 1.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			return checkHealth(ctx, file, address)
		},
	}
	c.Flags().StringVar(&file, "config", "", "configuration file of the broker, for its admin.address")
	c.Flags().StringVar(&address, "address", "", "host:port of the broker's HTTP side, instead of admin.address")
	c.Flags().DurationVar(&timeout, "timeout", 2*time.Second, "how long to wait for the answer")
	return c
}

// checkHealth asks /readyz. A wrong configuration is no usage error here: Docker gives only 0 and 1 a
// meaning.
func checkHealth(ctx context.Context, file, address string) error {
	if address == "" {
		cfg, err := configs.Load(file, nil)
		if err != nil {
			return errors.New(err.Error())
		}
		if address = cfg.Admin.Address; address == "" {
			return errors.New("admin.address is empty: this broker cannot be asked")
		}
	}
	target, err := reachable(address)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+target+"/readyz", nil)
	if err != nil {
		return err
	}
	direct := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // through no proxy
	answer, err := direct.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", target, answer.Status)
	}
	return nil
}

// reachable turns an address to listen at into one to connect to: every interface includes this machine's own. It
// is given as a number, because an image made from scratch knows no names.
func reachable(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	switch ip := net.ParseIP(host); {
	case host == "", ip.Equal(net.IPv4zero):
		host = "127.0.0.1"
	case ip.Equal(net.IPv6unspecified):
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}
