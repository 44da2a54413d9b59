package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/storage/badger"
)

func storageCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "storage",
		Short: "Check, measure, back up and restore what a broker keeps on disk",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(storageCheck(), storageStats(), storageBackup(), storageRestore())
	return c
}

func storageCheck() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "check [PATH]",
		Short: "Read everything on disk and say what cannot be read",
		Long: "Read everything on disk and say what cannot be read; it exits with 1 if there is something. PATH is storage.path of the\n" +
			"configuration if it is not given. No broker may run on the folder. As at a start of the broker, a write that a crash interrupted\n" +
			"is ended, and bytes that cannot be read are kept aside.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := storagePath(file, args)
			if err != nil {
				return err
			}
			return checkStore(path, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&file, "config", "", "configuration file of the broker, for its storage.path")
	return c
}

// storagePath is the folder on the command line, or that of the configuration.
func storagePath(file string, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	cfg, err := configs.Load(file, nil)
	if err != nil {
		return "", err
	}
	if cfg.Storage.Path == "" {
		return "", misused("storage.path is empty: nothing is on disk")
	}
	return cfg.Storage.Path, nil
}

// checkStore prints what a store holds and what of it cannot be read.
func checkStore(path string, out io.Writer) error {
	report, err := badger.Check(path)
	if err != nil {
		return explainStore(err)
	}
	found, err := takeStock(path)
	if err != nil {
		return explainStore(err)
	}
	if err := found.print(out); err != nil {
		return err
	}
	for _, l := range report.Losses {
		fmt.Fprintln(out, "lost:", l)
	}
	for _, name := range report.Aside {
		fmt.Fprintln(out, "kept:", name)
	}
	if n := len(report.Losses); n > 0 {
		return fmt.Errorf("%s: unreadable places: %d", path, n)
	}
	_, err = fmt.Fprintf(out, "%s: ok\n", path)
	return err
}

func storageStats() *cobra.Command {
	var file, address string
	c := &cobra.Command{
		Use:   "stats [PATH]",
		Short: "Say what is on disk, and what that costs a running broker",
		Long: "Say what is on disk. PATH is storage.path of the configuration if it is not given. If a broker runs on the folder it is\n" +
			"asked at admin.address of the configuration, with admin.token; it also says what its store did since the start.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return showStats(c.Context(), statsRequest{file: file, address: address, args: args}, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&file, "config", "", "configuration file of the broker")
	c.Flags().StringVar(&address, "address", "", "host:port of the broker's HTTP side: ask there, and look at no folder")
	return c
}

// A statsRequest is the command line of storage stats.
type statsRequest struct {
	file, address string
	args          []string
}

func showStats(ctx context.Context, r statsRequest, out io.Writer) error {
	if r.address != "" && len(r.args) > 0 {
		return misused("PATH and --address exclude each other")
	}
	cfg, err := configs.Load(r.file, nil)
	if err != nil {
		return err
	}
	if r.address == "" {
		path, err := storagePath(r.file, r.args)
		if err != nil {
			return err
		}
		found, err := takeStock(path)
		if err == nil {
			return found.print(out)
		}
		if !errors.Is(err, badger.ErrInUse) || len(r.args) > 0 {
			return explainStore(err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	o, err := newOperator(&cfg, r.address)
	if err != nil {
		return err
	}
	stats, err := o.stats(ctx)
	if err != nil {
		return err
	}
	return printStats(out, &stats)
}

func storageBackup() *cobra.Command {
	var file, address, path string
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write everything on disk to a file, while the broker runs",
		Long: "Write everything on disk to a file, queues included; - is standard output. The running broker is asked at admin.address of\n" +
			"the configuration, with admin.token (or PENSTOCK_ADMIN_TOKEN). The file is complete or not there. With --path the folder\n" +
			"is read instead, on which no broker may run.",
		Example: "  penstock storage backup penstock.backup\n" +
			"  penstock storage backup - | zstd > penstock.backup.zst\n" +
			"  penstock storage restore penstock.backup --path data",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			take, err := backupOf(file, address, path)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM) // so that no half file is left
			defer stop()
			return saveTo(args[0], c.OutOrStdout(), func(w io.Writer) error { return take(ctx, w) })
		},
	}
	c.Flags().StringVar(&file, "config", "", "configuration file of the broker")
	c.Flags().StringVar(&address, "address", "", "host:port of the broker's HTTP side, instead of admin.address")
	c.Flags().StringVar(&path, "path", "", "folder of a broker that is stopped")
	return c
}

// backupOf says where a backup comes from.
func backupOf(file, address, path string) (func(context.Context, io.Writer) error, error) {
	if path != "" {
		if address != "" {
			return nil, misused("--path and --address exclude each other")
		}
		return func(_ context.Context, w io.Writer) error { return backupFolder(path, w) }, nil
	}
	o, err := operatorOf(file, address)
	if err != nil {
		return nil, err
	}
	return o.backup, nil
}

// backupFolder backs up a store that no broker has open.
func backupFolder(path string, w io.Writer) error {
	s, err := badger.Open(badger.Options{Path: path, Existing: true})
	if err != nil {
		return explainStore(err)
	}
	return errors.Join(s.Backup(w), s.Close())
}

func storageRestore() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "restore FILE --path FOLDER",
		Short: "Make a folder of a backup",
		Long: "Make a folder of a backup; - is standard input. The folder must be empty or not exist; if anything is wrong with\n" +
			"the backup, it stays as it was.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if path == "" {
				return misused("restore needs a folder: --path FOLDER")
			}
			return restoreStore(args[0], path, c.InOrStdin(), c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&path, "path", "", "folder to make, storage.path of the broker to be started on it")
	return c
}

func restoreStore(name, path string, stdin io.Reader, out io.Writer) error {
	from := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		from = f
	}
	if err := badger.Restore(from, path); err != nil {
		return err
	}
	found, err := takeStock(path)
	if err != nil {
		return err
	}
	return found.print(out)
}
