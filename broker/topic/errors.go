package topic

import "errors"

// What can be wrong with a topic name or filter.
var (
	ErrEmpty         = errors.New("topic: empty")
	ErrTooLong       = errors.New("topic: too long")
	ErrTooManyLevels = errors.New("topic: too many levels")
	ErrNotUTF8       = errors.New("topic: not UTF-8")
	ErrNull          = errors.New("topic: contains U+0000")
	ErrWildcard      = errors.New("topic: name contains a wildcard")
	ErrMultiLevel    = errors.New("topic: # is not alone in the last level")
	ErrSingleLevel   = errors.New("topic: + is not alone in its level")
	ErrShareName     = errors.New("topic: share name is empty or contains + or #")
	ErrShareFilter   = errors.New("topic: share name is not followed by a filter")
)
