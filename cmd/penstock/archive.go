package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstockmq/penstock/client"
	"github.com/penstockmq/penstock/client/archive"
	"github.com/penstockmq/penstock/configs"
)

// An archiving is the flags of archive that say how files are written. They are called as those of nsq_to_file.
type archiving struct {
	outputDir, workDir string
	filename, datetime string
	utc                bool
	host               string
	format             string
	compress           bool
	level              int
	rotateSize         string
	rotateInterval     time.Duration
	syncEvery          int
	syncInterval       time.Duration
	openMax            int
}

func archiveCommand() *cobra.Command {
	var conn connection
	var m member
	var a archiving
	c := &cobra.Command{
		Use:   "archive {--channel NAME | -t FILTER} [--output-dir DIR]",
		Short: "Write what arrives into files",
		Long: "Write messages into files, and acknowledge them when they are synced to the disk, so that nothing is lost whatever\n" +
			"happens to this process. A file gets its name when it is finished: by --rotate-size, --rotate-interval, another time in\n" +
			"its name, SIGHUP or the end. Until then its name ends in .part-text, .part-json or .part-gzip. What a killed process\n" +
			"left behind is repaired and finished at the next start. Any number of processes can write into the same folder.\n\n" +
			"--filename-format takes <CHANNEL>, <TOPIC> (levels are folders; each topic has files of its own), <HOST>, <ID> (client\n" +
			"identifier), <PID>, <DATETIME> and <REV> (a number if the name is taken; without it, in front of the extension).",
		Example: "  penstock archive --channel billing --output-dir /var/archive --gzip --rotate-size 100MiB\n" +
			"  penstock archive -t 'sensors/#' -c -i archiver --format json --filename-format '<TOPIC>.<DATETIME>.json' \\\n" +
			"      --datetime-format %Y-%m-%d",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			options, err := conn.options()
			if err != nil {
				return err
			}
			return a.run(c.Context(), options, &m, c.ErrOrStderr())
		},
	}
	conn.define(c.Flags())
	m.define(c.Flags())
	a.define(c.Flags())
	return c
}

func (a *archiving) define(f *pflag.FlagSet) {
	f.StringVar(&a.outputDir, "output-dir", ".", "folder of finished files")
	f.StringVar(&a.workDir, "work-dir", "", "folder of files being written, on the same file system (default: --output-dir)")
	f.StringVar(&a.filename, "filename-format", "<CHANNEL>.<HOST>.<DATETIME><REV>.log", "what files are called (see above)")
	f.StringVar(&a.datetime, "datetime-format", "%Y-%m-%d_%H", "what <DATETIME> is, as in strftime")
	f.BoolVar(&a.utc, "utc", false, "<DATETIME> is UTC, not local time")
	f.StringVar(&a.host, "host-identifier", "", "what <HOST> is (default: the host's name up to the first dot)")
	f.StringVar(&a.format, "format", "raw", "what is written: raw (payloads, one a line) or json (everything, a message a line)")
	f.BoolVar(&a.compress, "gzip", false, "compress")
	f.IntVar(&a.level, "gzip-level", 6, "1 (fast) to 9 (small)")
	f.StringVar(&a.rotateSize, "rotate-size", "0", "finish a file that has this size, such as 100MiB; 0 is never")
	f.DurationVar(&a.rotateInterval, "rotate-interval", 0, "finish a file this long after it was opened; 0 is never")
	f.IntVar(&a.syncEvery, "sync-every", 0, "sync and acknowledge after so many messages (default: --max-in-flight)")
	f.DurationVar(&a.syncInterval, "sync-interval", 200*time.Millisecond, "sync and acknowledge at the latest after this")
	f.IntVar(&a.openMax, "max-open-files", 64, "with <TOPIC>: how many files are open at once")
}

func (a *archiving) run(ctx context.Context, o client.Options, m *member, stderr io.Writer) error {
	log, err := m.log(stderr)
	if err != nil {
		return err
	}
	consumption, err := m.consumption("archive", log)
	if err != nil {
		return err
	}
	options, err := a.options(o, m, log)
	if err != nil {
		return err
	}
	writer, err := archive.New(options)
	if err != nil {
		return err
	}
	rotate := make(chan os.Signal, 1)
	signal.Notify(rotate, syscall.SIGHUP)
	defer signal.Stop(rotate)
	consumption.Work = func(ctx context.Context, deliveries <-chan *client.Delivery) error {
		return writer.Run(ctx, deliveries, rotate)
	}
	err = consume(ctx, o, consumption, log)
	if err == nil {
		messages, files := writer.Written()
		log.Info("stopped", "messages", messages, "files", files)
	}
	return err
}

func (a *archiving) options(o client.Options, m *member, log *slog.Logger) (archive.Options, error) {
	options := archive.Options{
		OutputDir: a.outputDir, WorkDir: a.workDir, RotateInterval: a.rotateInterval,
		SyncEvery: a.syncEvery, SyncInterval: a.syncInterval, OpenMax: a.openMax, Log: log,
	}
	if options.SyncEvery <= 0 || options.SyncEvery > int(m.window) {
		options.SyncEvery = int(m.window) // more will not come before the first are acknowledged
	}
	var err error
	if options.Format, err = archive.ParseFormat(a.format); err != nil {
		return options, misused("--format: %w", err)
	}
	if options.RotateSize, err = configs.ParseSize(a.rotateSize); err != nil {
		return options, misused("--rotate-size: %w", err)
	}
	if a.compress {
		if a.level < 1 || a.level > 9 {
			return options, misused("--gzip-level: expected 1 to 9, got %d", a.level)
		}
		options.Gzip = a.level
	}
	options.Names, err = a.names(o, m)
	return options, err
}

func (a *archiving) names(o client.Options, m *member) (*archive.Names, error) {
	n := archive.Naming{
		Format: a.filename, DateTime: a.datetime, UTC: a.utc, Channel: m.name(), Host: a.host, ID: o.ClientID, PID: os.Getpid(),
	}
	if n.Host == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, err
		}
		n.Host, _, _ = strings.Cut(host, ".")
	}
	if a.compress && !strings.HasSuffix(n.Format, ".gz") {
		n.Format += ".gz"
	}
	names, err := archive.ParseNames(n)
	if err != nil {
		return nil, misused("--filename-format, --datetime-format: %w", err)
	}
	return names, nil
}
