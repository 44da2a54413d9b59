package badger

import "errors"

// Why a folder is refused, or a write.
var (
	ErrNewer     = errors.New("written by a newer version of Penstock") // upgrade, or restore a backup
	ErrForeign   = errors.New("not a Penstock store")                   // Badger's files without our FORMAT file
	ErrAbsent    = errors.New("no store is there")                      // and Options.Existing, or Check, was to find one
	ErrInUse     = errors.New("in use by another process")              // another broker has it open
	ErrNotEmpty  = errors.New("folder is not empty")                    // Restore writes to a new one only
	errMalformed = errors.New("malformed record")
	errChecksum  = errors.New("checksum differs")
)
