package auth

import "errors"

// What editing a password file fails with, beside errors of the disk and of the file's text.
var (
	ErrUserExists    = errors.New("user exists")
	ErrNoUser        = errors.New("no such user")
	ErrEmptyPassword = errors.New("password is empty")
	ErrBeingEdited   = errors.New("password file is being edited")
)
