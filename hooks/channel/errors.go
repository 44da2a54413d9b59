package channel

import "errors"

// What the methods of Channels fail with, beside what is wrong with a name or a declaration.
var (
	ErrUnknown  = errors.New("there is no such channel")
	ErrExists   = errors.New("there is a channel of this name")
	ErrDeclared = errors.New("the configuration declares the channel: remove it there first")
	ErrBusy     = errors.New("the channel is being emptied, put back or deleted")
)

// errNoWayBack keeps a message that cannot be put back where it is.
var errNoWayBack = errors.New("not a dead letter of a channel that exists")
