package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstockmq/penstock/configs"
)

func configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Work with configuration files",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use:   "check FILE",
		Short: "Say what is wrong in a configuration, without starting a broker",
		Long: "Say what is wrong in a configuration, without starting a broker: the first mistake with file, line and key.\n" +
			"The environment counts as it does for serve; certificates, password file and ACL file are read too.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := configs.Load(args[0], nil)
			if err != nil {
				return err
			}
			if _, err := openAccess(&cfg); err != nil {
				return usageError{err}
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: ok\n", args[0])
			return err
		},
	})
	return c
}
