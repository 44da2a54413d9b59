package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstockmq/penstock/configs"
)

// The exit codes.
const (
	exitOK    = 0
	exitError = 1 // something failed
	exitUsage = 2 // the command line or the configuration is wrong
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	started := false
	root := rootCommand()
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "penstock:", oneLine(err))
	if !started {
		return exitUsage
	}
	return exitCode(err)
}

// exitCode says whose an error is.
func exitCode(err error) int {
	var usage usageError
	var mistake *configs.Error
	if errors.As(err, &usage) || errors.As(err, &mistake) {
		return exitUsage
	}
	return exitError
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:               "penstock",
		Short:             "An MQTT broker, and tools to use and measure it",
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              cobra.NoArgs,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.AddCommand(
		serveCommand(), pubCommand(), subCommand(), archiveCommand(), forwardCommand(), benchCommand(), userCommand(),
		configCommand(), storageCommand(), channelCommand(), bridgeCommand(), healthCommand(), versionCommand(),
	)
	return root
}

// A usageError is a mistake on the command line that cobra does not see.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func misused(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// oneLine is an error's text without line ends.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
