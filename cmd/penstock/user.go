package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/penstockmq/penstock/hooks/auth"
)

func userCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "user",
		Short: "Manage accounts in a password file",
		Long: "Manage accounts in a password file. Passwords are asked for, or read from the first line of standard\n" +
			"input if that is no terminal. A running broker takes changes over on SIGHUP.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(userAdd(), userPasswd(), userRemove(), userList())
	return c
}

func userAdd() *cobra.Command {
	var groups []string
	c := &cobra.Command{
		Use:     "add FILE NAME",
		Short:   "Add an account; the file is made if there is none",
		Example: "  penstock user add users alice --group operators",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			password, err := readPassword(c.InOrStdin(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			return auth.AddUser(args[0], args[1], password, groups)
		},
	}
	c.Flags().StringArrayVarP(&groups, "group", "g", nil, "group that the access rules may name; repeatable")
	return c
}

func userPasswd() *cobra.Command {
	return &cobra.Command{
		Use:   "passwd FILE NAME",
		Short: "Change the password of an account",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			password, err := readPassword(c.InOrStdin(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			return auth.SetPassword(args[0], args[1], password)
		},
	}
}

func userRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "rm FILE NAME",
		Short: "Remove an account",
		Args:  cobra.ExactArgs(2),
		RunE:  func(_ *cobra.Command, args []string) error { return auth.RemoveUser(args[0], args[1]) },
	}
}

func userList() *cobra.Command {
	return &cobra.Command{
		Use:   "ls FILE",
		Short: "List the accounts with their groups",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			users, err := auth.ListUsers(args[0])
			if err != nil {
				return err
			}
			for _, u := range users {
				if _, err := fmt.Fprintln(c.OutOrStdout(), strings.TrimSpace(u.Name+" "+strings.Join(u.Groups, ","))); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// readPassword asks twice at a terminal, and reads a line elsewhere.
func readPassword(stdin io.Reader, stderr io.Writer) (string, error) {
	f, ok := stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(stdin).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	first, err := promptPassword(f, stderr, "Password: ")
	if err != nil {
		return "", err
	}
	second, err := promptPassword(f, stderr, "Again: ")
	if err == nil && first != second {
		err = errors.New("the passwords differ")
	}
	return first, err
}

func promptPassword(f *os.File, stderr io.Writer, prompt string) (string, error) {
	fmt.Fprint(stderr, prompt)
	password, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(stderr)
	return string(password), err
}
