// Package auth holds the hooks that decide who may connect: Passwords and SCRAM over one password
// file, Certificate for TLS client certificates, and Anonymous for clients that show no username.
//
// They are ordinary hooks. The broker's chain asks Certificate first, then Passwords, then Anonymous; SCRAM is
// asked only by clients that name its authentication method. What a client may do once it is
// connected is not decided here but in hooks/acl.
//
// Its nouns are the account (one line of the password file) and the hash (how a password is kept). The
// format of the file is explained in fileHeader, which stands at the top of every new
// file, and in docs/decisions/passwords.md. It is tested with tables, with the client side of
// github.com/xdg-go/scram, and by fuzzing the parser.
package auth
