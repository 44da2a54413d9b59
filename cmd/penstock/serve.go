package main

import (
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstockmq/penstock/configs"
)

// serveFlags maps the flags of serve to the keys they set.
var serveFlags = map[string]string{
	"log-level": "log.level", "log-format": "log.format", "admin-address": "admin.address", "auth-anonymous": "auth.anonymous",
	"storage-path": "storage.path",
}

func serveCommand() *cobra.Command {
	var file string
	var listen, set []string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the broker",
		Long: "Run the broker. Without a file and flags it listens on this machine only: MQTT at 127.0.0.1:1883, and over\n" +
			"WebSocket at ws://127.0.0.1:8083/mqtt; what must last is in the folder data. Defaults are beaten by the file, the file by environment variables\n" +
			"(PENSTOCK_LIMITS_MAX_QOS sets limits.max_qos), and those by flags.\n\n" +
			"SIGTERM ends it in order, a second one at once. SIGHUP reads certificates, accounts, access rules and the\n" +
			"configuration again, and says what needs a restart.",
		Example: "  penstock serve\n" +
			"  penstock serve --config penstock.yaml --log-level debug\n" +
			"  penstock serve --listen tcp://:1883 --listen 'tls://:8883?cert=server.pem&key=server.key' --auth-anonymous always",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			flags, err := settingsOf(c.Flags(), listen, set)
			if err != nil {
				return err
			}
			signals := make(chan os.Signal, 4)
			signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer signal.Stop(signals)
			return serve(c.Context(), source{file: file, flags: flags}, signals, c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&file, "config", "", "YAML file; configs/penstock.yaml explains every key")
	f.StringArrayVar(&listen, "listen", nil, "listener as a URL, instead of the configured ones; repeatable")
	f.StringArrayVar(&set, "set", nil, "any key of the configuration as key=value; repeatable")
	f.String("log-level", "", "debug, info, warn or error")
	f.String("log-format", "", "text or json")
	f.String("admin-address", "", "host:port of health and metrics over HTTP; empty turns them off")
	f.String("auth-anonymous", "", "who may connect without an account: never, loopback or always")
	f.String("storage-path", "", "folder of sessions and messages; empty keeps them in memory")
	return c
}

// settingsOf turns the flags that were given into settings.
func settingsOf(f *pflag.FlagSet, listen, set []string) ([]configs.Flag, error) {
	var flags []configs.Flag
	for _, pair := range set {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, misused("--set: expected key=value, got %q", pair)
		}
		flags = append(flags, configs.Flag{Name: "--set " + key, Key: key, Value: value})
	}
	if len(listen) > 0 {
		flags = append(flags, configs.Flag{Name: "--listen", Key: "listeners", Value: strings.Join(listen, ",")})
	}
	f.Visit(func(given *pflag.Flag) {
		if key, ok := serveFlags[given.Name]; ok {
			flags = append(flags, configs.Flag{Name: "--" + given.Name, Key: key, Value: given.Value.String()})
		}
	})
	return flags, nil
}
