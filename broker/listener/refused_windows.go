package listener

import (
	"errors"

	"golang.org/x/sys/windows"
)

// refused reports whether a dial failed because nobody listens.
func refused(err error) bool { return errors.Is(err, windows.WSAECONNREFUSED) }
